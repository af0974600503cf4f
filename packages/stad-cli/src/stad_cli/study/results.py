"""The results of a study: one small JSON file per finished run, kept beside the study file."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from stad_cli.json_file import write_json
from stad_cli.recipe_settings import Difference, Settings, differences
from stad_cli.study.study_file import Study
from stad_cli.study.study_run import StudyRun
from stad_eval import InputError

FORMAT = "stad-study-result"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one finished run gave.

    Attributes:
        study: The study's name.
        row: The row's name.
        seed: The run's.
        metrics: Of its end, as fractions; None where a metric is not defined.
        steps: Updates done.
        seconds: Time of the whole run, its evaluations included, over all resumed parts.
        curve: Metrics while it trained: "step" and the metrics of each evaluation.
        settings: Everything that decided it, key by key.
        versions: Of what ran.
        machine: What it ran on.
    """

    study: str
    row: str
    seed: int
    metrics: dict[str, float | None]
    steps: int
    seconds: float
    settings: Settings
    curve: list[dict[str, float | None]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    def number(self, metric: str) -> float | None:
        """A metric, or "seconds"; None where the run has no such finite number."""
        value = self.seconds if metric == "seconds" else self.metrics.get(metric)
        return None if value is None or not math.isfinite(value) else value


@dataclass(frozen=True, kw_only=True)
class Results:
    """What lies in a study's results folder.

    Attributes:
        fresh: Results of the study as it is now, by name of the run.
        stale: Runs whose result is of other settings, and where these differ.
        foreign: Results of rows or seeds that the study does not have.
    """

    fresh: dict[str, Result]
    stale: dict[str, list[Difference]]
    foreign: tuple[Path, ...]


def read_results(study: Study, runs: Sequence[StudyRun]) -> Results:
    """Read what is there; an empty folder gives none.

    Raises:
        InputError: A file that is no result, or one of another study.
    """
    fresh: dict[str, Result] = {}
    stale: dict[str, list[Difference]] = {}
    for run in runs:
        path = run.result_path(study)
        if not path.exists():
            continue
        result = read_result(path)
        if (result.row, result.seed) != (run.row, run.seed):
            raise InputError(
                "this result is of another run",
                path=path,
                expected=run.name,
                found=f"{result.row}, seed {result.seed}",
                remedy="give the file its own name back, or delete it",
            )
        differing = differences(result.settings, run.settings, run.chosen)
        if differing:
            stale[run.name] = differing
        else:
            fresh[run.name] = result
    known = {run.name for run in runs}
    there = sorted(study.results.glob("*.json")) if study.results.is_dir() else []
    foreign = tuple(path for path in there if path.stem not in known)
    return Results(fresh=fresh, stale=stale, foreign=foreign)


def read_result(path: Path) -> Result:
    """Read one result.

    Raises:
        InputError: It is none, or of a newer version.
    """
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("this result is no JSON", path=path, found=str(error)) from None
    table = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    mark = (table.pop("format", None), table.pop("version", None))
    if mark != (FORMAT, VERSION):
        raise InputError(
            "this file is no result of a study",
            path=path,
            expected=f'"format": "{FORMAT}", "version": {VERSION}',
            found=f"{mark[0]!r}, {mark[1]!r}",
            remedy="delete it, and the run is done again",
        )
    try:
        return TypeAdapter(Result).validate_python(table)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            "this result is damaged",
            path=path,
            expected=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            remedy="delete it, and the run is done again",
        ) from None


def write_result(path: Path, result: Result) -> None:
    """Write one result, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(result)})
