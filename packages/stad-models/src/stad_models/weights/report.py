"""What loading did with every tensor of a file and of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Required = Literal["all", "backbone", "nothing"]
"""What a checkpoint has to fill: the whole model, as inference needs; its backbone, as training
needs, which starts the heads afresh; or nothing."""

COUNTER = "num_batches_tracked"
"""How the counters of batch normalisation end, which change nothing that a model puts out."""

Shape = tuple[int, ...]
_EXAMPLES = 3


class WeightsError(ValueError):
    """A checkpoint that cannot be used; the model is as it was.

    Attributes:
        report: what would have gone where, if it came so far.
    """

    def __init__(self, message: str, report: LoadReport | None = None) -> None:
        super().__init__(message)
        self.report = report


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A tensor of the model that was filled, the file's key for it, and what was changed."""

    name: str
    key: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A tensor of the file that was not used, and why.

    Attributes:
        key: the file's key.
        shape: its shape.
        reason: why.
        of_backbone: whether it is a part of a backbone, one that this model does not have.
    """

    key: str
    shape: Shape
    reason: str
    of_backbone: bool = False


@dataclass(frozen=True, kw_only=True)
class Mismatched:
    """A tensor of the model, left as it was, whose counterpart in the file has another shape."""

    name: str
    key: str
    expected: Shape
    found: Shape


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What went where; prints as a table.

    Attributes:
        source: the file, or "tensors".
        layout: name of the layout.
        loaded: tensors of the model that were filled.
        skipped: tensors of the file that were not used.
        mismatched: tensors of the model whose counterpart has another shape.
        missing: names of the model's tensors that the file does not have; counters of batches,
            which do not change what a model puts out, are not among them.
        parts: how many tensors each part of the model has, those counters left out; a backbone
            alone is "backbone".
        prefix: before the names of the backbone's tensors.
    """

    source: str
    layout: str
    loaded: tuple[Loaded, ...]
    skipped: tuple[Skipped, ...]
    mismatched: tuple[Mismatched, ...]
    missing: tuple[str, ...]
    parts: Mapping[str, int]
    prefix: str

    def part(self, name: str) -> str:
        """The part of the model that a tensor's name belongs to."""
        return name.split(".", 1)[0] if self.prefix else "backbone"

    def require(self, required: Required) -> None:
        """Refuse a checkpoint that does not fill what it has to.

        Raises:
            WeightsError: a tensor is missing or of another shape, or the file has tensors of a
                backbone that the model does not have.
        """
        if required not in ("all", "backbone", "nothing"):
            raise ValueError(f"require must be 'all', 'backbone' or 'nothing', found {required!r}")
        if required == "nothing":
            return
        parts = ["backbone"] if required == "backbone" else list(self.parts)
        missing = [name for name in self.missing if self.part(name) in parts]
        odd = [one for one in self.mismatched if self.part(one.name) in parts]
        extra = [one for one in self.skipped if one.of_backbone]
        problems: list[str] = []
        if missing:
            counts = Counter(map(self.part, missing))
            where = ", ".join(f"{count} of {part}" for part, count in counts.items())
            problems.append(f"it lacks {where}: {_examples(missing)}")
        if odd:
            shapes = [f"{one.name} ({_text(one.found)} for {_text(one.expected)})" for one in odd]
            problems.append(f"{len(odd)} have another shape: {_examples(shapes)}")
        if extra:
            keys = [one.key for one in extra]
            problems.append(f"{len(extra)} have no place in this backbone: {_examples(keys)}")
        if problems:
            remedy = _remedy(missing, odd, extra, required)
            raise WeightsError(
                f"weights: {self.source} (layout {self.layout}) does not fit; "
                + "; ".join(problems)
                + f". {remedy}",
                self,
            )

    def to_plain(self) -> dict[str, Any]:
        """For a program to read."""
        return {
            "source": self.source,
            "layout": self.layout,
            "loaded": [vars(one) for one in self.loaded],
            "skipped": [{**vars(one), "shape": list(one.shape)} for one in self.skipped],
            "mismatched": [
                {**vars(one), "expected": list(one.expected), "found": list(one.found)}
                for one in self.mismatched
            ],
            "missing": list(self.missing),
            "parts": dict(self.parts),
        }

    def __str__(self) -> str:
        filled = Counter(
            self.part(one.name) for one in self.loaded if not one.name.endswith(COUNTER)
        )
        wide = max(len("part"), *(len(part) for part in self.parts))
        lines = [
            f"weights from {self.source} (layout {self.layout})",
            f"{'part':{wide}}  tensors  loaded",
            *(f"{part:{wide}}  {count:7}  {filled[part]:6}" for part, count in self.parts.items()),
        ]
        lines += _grouped("changed", [(one.note, one.key) for one in self.loaded if one.note])
        lines += _grouped("skipped", [(one.reason, one.key) for one in self.skipped])
        lines += [
            f"mismatched: {one.name} is {_text(one.expected)}, {one.key} is {_text(one.found)}"
            for one in self.mismatched
        ]
        gone = [(f"{self.part(name)}, not in the file", name) for name in self.missing]
        return "\n".join(lines + _grouped("missing", gone))


def _grouped(word: str, items: Sequence[tuple[str, str]]) -> list[str]:
    """One line per reason, with how many and which."""
    reasons = Counter(reason for reason, _ in items)
    return [
        f"{word} {count}: {reason} ({_examples([key for why, key in items if why == reason])})"
        for reason, count in reasons.items()
    ]


def _examples(names: Sequence[str]) -> str:
    more = len(names) - _EXAMPLES
    return ", ".join(names[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a number"


def _remedy(
    missing: Sequence[str], odd: Sequence[Mismatched], extra: Sequence[Skipped], required: Required
) -> str:
    """What most likely mends it."""
    lateral = [name for name in missing if "fusions." in name and ".norm." in name]
    if missing and len(lateral) == len(missing) and not odd:
        return "Build the trunk with laterals='plain'."
    if extra and all("nonlocal" in one.key for one in extra) and not odd:
        return "Build the trunk that has these non-local blocks."
    if required == "all":
        return (
            "Inference needs every tensor: train the heads first, or load with "
            "require='backbone' to begin training with this file."
        )
    return "Take a checkpoint of the same architecture, or the builder that it was made for."
