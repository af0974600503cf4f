"""The table of a study as Markdown, LaTeX and JSON. Fractions are printed in per cent."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stad_cli.study.statistics import CONFIDENCE, Estimate
from stad_cli.study.table import SECONDS, Entry, Table, TableRow

_NOTHING = "-"
"""Where a row has no number."""
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
}


def metric_title(metric: str) -> str:
    """How a metric is headed: its unit with it."""
    return "time, s" if metric == SECONDS else f"{metric.replace('_', ' ')}, %"


def markdown(table: Table) -> str:
    """A Markdown section: the title, the table, and what its figures are."""
    lines = [f"### {table.study.file.title}", ""]
    if table.study.file.about:
        lines += [table.study.file.about.strip(), ""]
    head = _head(table)
    lines += [_bar(head), "|" + "---|" + "---:|" * (len(head) - 1)]
    lines += [_bar([_pipe(cell) for cell in row]) for row in _cells(table, bold="**{}**".format)]
    return "\n".join([*lines, "", legend(table), "", _command(table), ""])


def latex(table: Table) -> str:
    """A tabular for the booktabs package, with what its figures are as a comment."""
    head = _head(table)
    bold = "\\textbf{{{}}}".format
    body = [" & ".join(cells) + r" \\" for cells in _cells(table, bold=bold, escape=escape_latex)]
    return "\n".join(
        [
            f"% {table.study.file.title}",
            *(f"% {line}" for line in legend(table).splitlines()),
            r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
            r"\toprule",
            " & ".join(escape_latex(cell) for cell in head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def plain(table: Table) -> dict[str, Any]:
    """The table for a program to read: fractions, as they were measured."""
    return {
        "title": table.study.file.title,
        "study": table.study.name,
        "reference": table.study.reference,
        "confidence": CONFIDENCE,
        "seeds": list(table.study.file.seeds),
        "metrics": list(table.metrics),
        "rows": [
            {
                "name": row.name,
                "label": row.label,
                "x": row.x,
                "group": row.group or None,
                "paper": row.paper,
                "metrics": {metric: _plain_entry(row.entries[metric]) for metric in row.entries},
            }
            for row in table.rows
        ],
    }


def legend(table: Table) -> str:
    """What the figures of the table are."""
    missing = sum(table.seeds - row.seeds for row in table.rows)
    text = (
        f"Mean ± half of the 95 % interval (Student's t) over up to {table.seeds} seeds; "
        f'Δ: paired difference to "{table.reference}" over common seeds, '
        "bold where its interval leaves out zero."
    )
    return text + (f" {missing} of the study's runs are missing." if missing else "")


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return re.sub(r"[\\&%$#_{}~^±Δ]", lambda found: _TEX[found[0]], text)


def _command(table: Table) -> str:
    """How to make the table again, without a place that only this machine knows."""
    path = table.study.path.resolve()
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else Path(path.name)
    return f"`stad study {near.as_posix()}`"


def _head(table: Table) -> list[str]:
    head = ["", "seeds"]
    for metric in table.metrics:
        head += [metric_title(metric), *(["Δ"] if _differs(table) else [])]
    return [*head, *table.papers]


def _differs(table: Table) -> bool:
    return len(table.rows) > 1


def _cells(
    table: Table,
    *,
    bold: Callable[[str], str],
    escape: Callable[[str], str] = str,
) -> Iterable[list[str]]:
    for row in table.rows:
        cells = [escape(row.label), str(row.seeds)]
        for metric in table.metrics:
            entry = row.entries[metric]
            cells.append(escape(_level(entry, metric)))
            if _differs(table):
                cells.append(_difference(entry, metric, bold, escape))
        yield [*cells, *(escape(_printed(row, title)) for title in table.papers)]


def _level(entry: Entry, metric: str) -> str:
    return _NOTHING if entry.level is None else _number(entry.level, metric, sign="")


def _difference(
    entry: Entry, metric: str, bold: Callable[[str], str], escape: Callable[[str], str]
) -> str:
    if entry.difference is None:
        return ""
    text = escape(_number(entry.difference, metric, sign="+"))
    return bold(text) if entry.difference.leaves_out_zero else text


def _number(found: Estimate, metric: str, *, sign: str) -> str:
    scale, digits = (1, 0) if metric == SECONDS else (100, 1)
    text = f"{scale * found.mean:{sign}.{digits}f}"
    return text if found.half is None else f"{text} ± {scale * found.half:.{digits}f}"


def _printed(row: TableRow, title: str) -> str:
    return str(row.paper.get(title, ""))


def _plain_entry(entry: Entry) -> dict[str, Any]:
    return {
        "by_seed": {str(seed): value for seed, value in entry.by_seed.items()},
        "mean": None if entry.level is None else entry.level.mean,
        "half": None if entry.level is None else entry.level.half,
        "difference": None if entry.difference is None else entry.difference.mean,
        "difference_half": None if entry.difference is None else entry.difference.half,
    }


def _bar(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _pipe(text: str) -> str:
    return text.replace("|", "\\|")
