"""The table of a study, as numbers: what each row gives, and how it differs from the reference."""

from collections.abc import Mapping
from dataclasses import dataclass

from stad_cli.config import nearest
from stad_cli.study.results import Result
from stad_cli.study.statistics import Estimate, estimate
from stad_cli.study.study_file import Printed, Row, Study
from stad_cli.study.study_run import run_name
from stad_eval import InputError

SECONDS = "seconds"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One metric of one row.

    Attributes:
        by_seed: The numbers that are there, by seed: fractions, or seconds.
        level: Their mean; None without numbers.
        difference: Mean of what the row has more than the reference, over the seeds that both
            have; None for the reference itself and without common seeds.
    """

    by_seed: dict[int, float]
    level: Estimate | None
    difference: Estimate | None


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One row of the table.

    Attributes:
        name: The row's name.
        label: What is shown.
        seeds: Number of its results.
        entries: By metric.
        paper: The paper's figures, by the heading of their column.
        x: Place on the plot's axis, where the study has one.
        group: Line of the plot.
    """

    name: str
    label: str
    seeds: int
    entries: dict[str, Entry]
    paper: dict[str, Printed]
    x: float | None
    group: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A whole table.

    Attributes:
        study: Whose it is.
        metrics: In order, the main one first.
        papers: Headings of the paper's columns.
        reference: Label of the row that differences are taken to.
        rows: In the study's order, those without results too.
        seeds: How many the study wants of every row.
    """

    study: Study
    metrics: tuple[str, ...]
    papers: tuple[str, ...]
    reference: str
    rows: tuple[TableRow, ...]
    seeds: int


def make_table(study: Study, results: Mapping[str, Result]) -> Table:
    """Put the results that are there together; rows without results have no numbers.

    Raises:
        InputError: A metric that none of the results has.
    """
    _require_metrics(study, results)
    reference = study.row(study.reference)
    numbers = {
        (row.name, metric): _by_seed(study, row, metric, results)
        for row in study.file.rows
        for metric in study.file.metrics
    }
    rows = tuple(
        TableRow(
            name=row.name,
            label=row.label or row.name,
            seeds=sum(run_name(row.name, seed) in results for seed in study.file.seeds),
            entries={
                metric: _entry(
                    numbers[row.name, metric],
                    None if row is reference else numbers[reference.name, metric],
                )
                for metric in study.file.metrics
            },
            paper=_papers(study, row),
            x=row.x,
            group=row.group,
        )
        for row in study.file.rows
    )
    return Table(
        study=study,
        metrics=study.file.metrics,
        papers=tuple(dict.fromkeys(title for row in rows for title in row.paper)),
        reference=reference.label or reference.name,
        rows=rows,
        seeds=len(study.file.seeds),
    )


def _by_seed(
    study: Study, row: Row, metric: str, results: Mapping[str, Result]
) -> dict[int, float]:
    found: dict[int, float] = {}
    for seed in study.file.seeds:
        result = results.get(run_name(row.name, seed))
        value = None if result is None else result.number(metric)
        if value is not None:
            found[seed] = value
    return found


def _entry(own: dict[int, float], reference: dict[int, float] | None) -> Entry:
    difference = None
    if reference is not None:
        common = [seed for seed in own if seed in reference]
        difference = estimate([own[seed] - reference[seed] for seed in common])
    return Entry(by_seed=own, level=estimate(list(own.values())), difference=difference)


def _papers(study: Study, row: Row) -> dict[str, Printed]:
    if row.paper is None:
        return {}
    return row.paper if isinstance(row.paper, dict) else {study.file.paper_title: row.paper}


def _require_metrics(study: Study, results: Mapping[str, Result]) -> None:
    known = sorted({name for result in results.values() for name in result.metrics})
    for metric in study.file.metrics:
        if known and metric != SECONDS and metric not in known:
            raise InputError(
                f"no result has the metric {metric!r}",
                path=study.path,
                remedy=nearest(metric, [*known, SECONDS]),
            )
