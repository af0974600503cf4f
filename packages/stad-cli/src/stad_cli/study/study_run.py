"""The runs of a study: every row with every seed, and what decides the result of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stad_cli.config import Recipe, load_recipe
from stad_cli.recipe_settings import Settings, chosen, settings
from stad_cli.study.data_source import data_settings
from stad_cli.study.study_file import Row, Study
from stad_eval import InputError


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One row with one seed.

    Attributes:
        row: Its name.
        seed: The run's.
        recipe: Resolved, the seed in it.
        settings: Everything that decides the result: recipe, data, weights to begin with.
        chosen: The keys of `settings` that are not at a default.
        begins_with: Name of the run whose last weights it begins with.
    """

    row: str
    seed: int
    recipe: Recipe
    settings: Settings
    chosen: frozenset[str]
    begins_with: str | None = None

    @property
    def name(self) -> str:
        """Names its folder and its result."""
        return run_name(self.row, self.seed)

    def result_path(self, study: Study) -> Path:
        """Where its result is kept."""
        return study.results / f"{self.name}.json"


def run_name(row: str, seed: int) -> str:
    """Of the run of a row with a seed."""
    return f"{row}-seed{seed}"


def study_runs(study: Study) -> list[StudyRun]:
    """All runs of a study: every row with the first seed, then every row with the second, ...

    Stopped at any moment, what is there compares as many rows as possible.

    Raises:
        InputError: A recipe, an override or an option of the data that cannot be used.
    """
    data, data_chosen = data_settings(study)
    runs: dict[str, StudyRun] = {}
    for seed in study.file.seeds:
        for row in study.file.rows:
            recipe = row_recipe(study, row, seed)
            own = {**settings(recipe), **data}
            own_chosen = chosen(recipe) | data_chosen
            before = None if row.weights_of is None else runs[run_name(row.weights_of, seed)]
            if before is not None:
                own |= {f"weights_of.{key}": value for key, value in before.settings.items()}
                own_chosen |= {f"weights_of.{key}" for key in before.chosen}
            run = StudyRun(
                row=row.name,
                seed=seed,
                recipe=recipe,
                settings=own,
                chosen=own_chosen,
                begins_with=None if before is None else before.name,
            )
            runs[run.name] = run
    return list(runs.values())


def select(
    study: Study, runs: Sequence[StudyRun], *, rows: Sequence[str], seeds: Sequence[int]
) -> list[StudyRun]:
    """The runs of some rows and seeds; of all where none is named.

    Raises:
        InputError: A row or a seed that the study does not have.
    """
    for row in rows:
        study.row(row)
    for seed in seeds:
        if seed not in study.file.seeds:
            raise InputError(
                f"the study has no seed {seed}",
                path=study.path,
                expected=f"some of {', '.join(map(str, study.file.seeds))}",
            )
    return [
        run for run in runs if (not rows or run.row in rows) and (not seeds or run.seed in seeds)
    ]


def row_recipe(study: Study, row: Row, seed: int) -> Recipe:
    """The recipe of a row with a seed, its overrides applied.

    Raises:
        InputError: It cannot be used.
    """
    name = row.recipe or study.file.recipe
    source = study.path.parent / name if name.endswith(".toml") else name
    try:
        return load_recipe(source, [*study.file.set, *row.set, f"run.seed={seed}"])
    except InputError as error:
        raise InputError(f"row {row.name}: {error}", path=study.path) from None
