"""The plot of a study: rows beside each other with their intervals, or curves over x."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stad_cli.study.table import SECONDS, Table, TableRow
from stad_cli.study.table_text import metric_title
from stad_cli.whole_file import naming, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#2f6fab", "#d1602d", "#3d8b57", "#8b5fa8", "#b0393f", "#6b7480")
_PALE = "#9aa7b4"
MARGIN = 0.12
"""Room beside the points, as a part of their span."""


def write_plot(path: Path, table: Table) -> None:
    """Write the plot as a PNG, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    image = io.BytesIO()
    # No date and no version in the file: the same results give the same bytes.
    draw(table).savefig(image, format="png", dpi=150, metadata={"Software": None})
    with whole_file(path, "bytes") as file, naming(path):
        file.write(image.getvalue())


def draw(table: Table) -> "Figure":
    """One panel per metric; rows without results have a place and no point."""
    from matplotlib.figure import Figure

    metrics = [metric for metric in table.metrics if metric != SECONDS] or list(table.metrics)
    curves = all(row.x is not None for row in table.rows)
    height = 3.6 if curves else 1.2 + 0.34 * len(table.rows)
    figure = Figure(figsize=(1.0 + 4.6 * len(metrics), height), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=not curves)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        if curves:
            _curves(axes, table, metric)
        else:
            _rows(axes, table, metric)
        axes.grid(visible=True, color="#e4e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.suptitle(table.study.file.title, fontsize=11)
    return figure


def _rows(axes: "Axes", table: Table, metric: str) -> None:
    """A point with its interval per row, each seed's number beside it."""
    places = range(len(table.rows))
    for place, row in zip(places, table.rows, strict=True):
        scale, entry = _scale(metric), row.entries[metric]
        numbers = [scale * value for value in entry.by_seed.values()]
        axes.plot(numbers, [place] * len(numbers), ".", color=_PALE, markersize=5)
        if entry.level is not None:
            axes.errorbar(
                scale * entry.level.mean,
                place,
                xerr=scale * (entry.level.half or 0.0),
                fmt="o",
                color=COLOURS[0],
                capsize=3,
                markersize=5,
            )
        if row.name == table.study.reference and entry.level is not None:
            axes.axvline(scale * entry.level.mean, color=_PALE, linewidth=0.9, linestyle="--")
    axes.set_yticks(list(places), [row.label for row in table.rows], fontsize=9)
    axes.set_ylim(len(table.rows) - 0.5, -0.5)
    axes.set_xlabel(metric_title(metric))
    axes.margins(x=MARGIN)


def _curves(axes: "Axes", table: Table, metric: str) -> None:
    """A line per group over x, with intervals."""
    groups = list(dict.fromkeys(row.group for row in table.rows))
    for number, group in enumerate(groups):
        rows = [
            row
            for row in table.rows
            if row.group == group and row.entries[metric].level is not None
        ]
        rows.sort(key=_x)
        scale = _scale(metric)
        levels = [level for row in rows if (level := row.entries[metric].level) is not None]
        axes.errorbar(
            [_x(row) for row in rows],
            [scale * level.mean for level in levels],
            yerr=[scale * (level.half or 0.0) for level in levels],
            marker="o",
            markersize=4,
            capsize=3,
            color=COLOURS[number % len(COLOURS)],
            label=group or "ours",
        )
    axes.set_xscale(table.study.file.x_scale)
    axes.set(xlabel=table.study.file.x_label, ylabel=metric_title(metric))
    if len(groups) > 1:
        axes.legend(frameon=False, fontsize=9)
    axes.margins(x=MARGIN / 2, y=MARGIN)


def _x(row: TableRow) -> float:
    return cast("float", row.x)


def _scale(metric: str) -> float:
    return 1.0 if metric == SECONDS else 100.0
