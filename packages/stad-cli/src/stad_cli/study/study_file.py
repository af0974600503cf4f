"""The file of a study: rows of settings, seeds, data and the numbers to report, as TOML."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from stad_cli.config import nearest, refuse
from stad_cli.recipe_section import Count, Section
from stad_eval import InputError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
Printed = str | float | int
"""A figure as the paper prints it."""


class DataSource(Section):
    """[data]: one of a synthetic set and a folder.

    Attributes:
        synthetic: `layout` and the keyword arguments of `stad_data.synthetic.make`.
        folder: Where real data lies: as given, or below $STAD_DATA.
    """

    synthetic: dict[str, Any] | None = None
    folder: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "DataSource":
        if (self.synthetic is None) == (self.folder is None):
            raise ValueError('give one of synthetic = {layout = "ava", ...} and folder = "..."')
        return self


class Row(Section):
    """[[rows]]: one setting.

    Attributes:
        name: Names its files.
        label: What the table shows; the name where it is empty.
        recipe: The row's own recipe, instead of the study's.
        set: Overrides of the recipe, after the study's.
        weights_of: A row whose last weights, of the same seed, this one begins with.
        paper: The paper's figure, or a table of them: one column of the table each.
        x: Place on the plot's x axis.
        group: Rows of one group are one line of the plot.
    """

    name: Name
    label: str = ""
    recipe: str | None = None
    set: tuple[str, ...] = ()
    weights_of: str | None = None
    paper: Printed | dict[str, Printed] | None = None
    x: float | None = None
    group: str = ""


class StudyFile(Section):
    """A whole study file.

    Attributes:
        title: Of the table.
        about: A line or two below the title.
        recipe: Name of a recipe, or the path of one relative to the study file.
        seeds: One run of every row each.
        metrics: Keys of a run's final metrics, or "seconds"; the first is the main one.
        set: Overrides for every row.
        reference: The row that differences are taken to; the first where it is not given.
        paper_title: Heading of a row's plain `paper` figure.
        x_label: Of the plot's x axis.
        x_scale: Of the plot's x axis.
        data: What the runs train on.
        rows: The settings.
    """

    title: str
    about: str = ""
    recipe: str
    seeds: Annotated[tuple[Count, ...], Field(min_length=1)]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = ("frame_mAP",)
    set: tuple[str, ...] = ()
    reference: str | None = None
    paper_title: str = "paper"
    x_label: str = ""
    x_scale: Literal["linear", "log"] = "linear"
    data: DataSource
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rows_fit(self) -> "StudyFile":
        names = [row.name for row in self.rows]
        for kind, values in (("row", names), ("seed", self.seeds), ("metric", self.metrics)):
            words = [str(value) for value in values]
            twice = sorted({word for word in words if words.count(word) > 1})
            if twice:
                raise ValueError(f"every {kind} once, not {', '.join(twice)} twice")
        for key, name in (
            ("reference", self.reference),
            *(("weights_of", row.weights_of) for row in self.rows),
        ):
            if name is not None and name not in names:
                raise ValueError(f"{key} names no row: {name!r}; {nearest(name, names)}")
        placed = [row.x is not None for row in self.rows]
        if any(placed) and not all(placed):
            lacking = names[placed.index(False)]
            raise ValueError(f"every row needs an x, or none; {lacking} has none")
        return self


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study and where its results lie.

    Attributes:
        path: The study file; its name without .toml is the study's.
        file: What it says.
        folder: Holds `results/` and the tables.
    """

    path: Path
    file: StudyFile
    folder: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.path.stem

    @property
    def results(self) -> Path:
        """One small JSON file per finished run."""
        return self.folder / "results"

    @property
    def reference(self) -> str:
        """Name of the row that differences are taken to."""
        return self.file.reference or self.file.rows[0].name

    def row(self, name: str) -> Row:
        """The row of this name.

        Raises:
            InputError: There is none.
        """
        for row in self.file.rows:
            if row.name == name:
                return row
        names = [row.name for row in self.file.rows]
        raise InputError(
            f"the study has no row {name!r}", path=self.path, remedy=nearest(name, names)
        )


def load_study(path: Path) -> Study:
    """Read a study file; its results lie in a folder of its name beside it.

    Raises:
        InputError: No such file, no TOML, an unknown key, or values that do not fit together.
    """
    if path.suffix != ".toml" or not path.is_file():
        raise InputError(
            "no such study file", path=path, expected="a .toml file", remedy="see docs/studies.md"
        )
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("the study is no valid TOML", path=path, found=str(error)) from None
    try:
        file = StudyFile.model_validate(tables)
    except ValidationError as error:
        refuse(error, StudyFile, what="study", path=path)
    _require_order(path, file)
    return Study(path=path, file=file, folder=path.with_suffix(""))


def _require_order(path: Path, file: StudyFile) -> None:
    """Rows whose weights others begin with come first: no row can wait for itself."""
    seen: set[str] = set()
    for row in file.rows:
        if row.weights_of is not None and row.weights_of not in seen:
            raise InputError(
                f"row {row.name} begins with the weights of {row.weights_of}, which comes later",
                path=path,
                remedy=f"move the row {row.weights_of} before {row.name}",
            )
        seen.add(row.name)
