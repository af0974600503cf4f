"""What `stad data check` prints: how much there is, and what is wrong with it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from stad_data import Dataset
from stad_data.check import Problem, coverage, coverage_table, parts


def check_text(dataset: Dataset | None, problems: Sequence[Problem], *, limit: int | None) -> str:
    """The table of what there is, each problem, and how many there are.

    Args:
        dataset: The dataset; None where it could not be read.
        problems: What is wrong with it, errors first.
        limit: Places told of each problem; None for all.
    """
    errors = sum(problem.severity == "error" for problem in problems)
    blocks = [] if dataset is None else [coverage_table(dataset)]
    blocks += [problem.text(limit) for problem in problems]
    blocks.append(f"{errors} errors, {len(problems) - errors} warnings")
    return "\n\n".join(blocks)


def check_json(dataset: Dataset | None, problems: Sequence[Problem]) -> dict[str, Any]:
    """The same for a program to read: ``parts`` and ``classes`` are null without a dataset."""
    errors = sum(problem.severity == "error" for problem in problems)
    return {
        "dataset": None if dataset is None else dataset.name,
        "errors": errors,
        "warnings": len(problems) - errors,
        "problems": [_plain(problem) for problem in problems],
        "parts": None if dataset is None else [asdict(part) for part in parts(dataset)],
        "classes": None if dataset is None else [asdict(row) for row in coverage(dataset)],
    }


def _plain(problem: Problem) -> dict[str, Any]:
    content = asdict(problem)
    for example in content["examples"]:
        example["path"] = None if example["path"] is None else str(example["path"])
    return content
