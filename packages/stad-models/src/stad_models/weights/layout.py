"""What a public layout is: another project's names for the tensors of our models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

HEAD = "head."
"""Before "weight" and "bias" of the linear layer that gives the classes, in renamed keys."""

PATHWAYS = {"0": "slow", "1": "fast"}
"""Our names for the pathways that others number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A checkpoint's tensors, ready to be renamed.

    Attributes:
        tensors: by public key.
        skipped: what was set aside, and why, by public key.
        notes: what was done to a tensor, by public key.
    """

    tensors: Mapping[str, Tensor]
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: Mapping[str, str] = field(default_factory=dict[str, str])


def as_it_is(tensors: Mapping[str, Tensor]) -> Prepared:
    """Nothing to prepare."""
    return Prepared(tensors=tensors)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Another project's names.

    Attributes:
        name: what users call it.
        project: whose checkpoints these are.
        example: a key that shows what its keys look like.
        rename: a public key to our name within the backbone, or `HEAD` and "weight" or "bias", or
            `HEAD` and a name within the detector; None where the key is none of this layout.
        prepare: merges, drops and cuts tensors before they are renamed.
    """

    name: str
    project: str
    example: str
    rename: Callable[[str], str | None]
    prepare: Callable[[Mapping[str, Tensor]], Prepared] = as_it_is

    def known(self, tensors: Mapping[str, Tensor]) -> int:
        """How many of a checkpoint's keys are of this layout, those that it sets aside included."""
        ready = self.prepare(tensors)
        unknown = sum(self.rename(key) is None for key in ready.tensors)
        return len(tensors) - min(unknown, len(tensors))


Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern for a whole key, and our name: text with `\\1` for groups, or a function."""


def renaming(rules: Sequence[Rule]) -> Callable[[str], str | None]:
    """A function that renames by the first rule whose pattern is the whole key."""
    compiled = [(re.compile(pattern), name) for pattern, name in rules]

    def rename(key: str) -> str | None:
        for pattern, name in compiled:
            found = pattern.fullmatch(key)
            if found:
                return name(found) if callable(name) else found.expand(name)
        return None

    return rename
