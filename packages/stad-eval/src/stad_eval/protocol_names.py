"""Protocols by their names."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from stad_eval.input_error import InputError

P = TypeVar("P")


def by_name(name: str, known: Mapping[str, P], *, what: str = "protocol") -> P:
    """The one of that name.

    Raises:
        InputError: naming the nearest, if there is none.
    """
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1)
    raise InputError(
        f"unknown {what}",
        expected=f"one of {', '.join(known)}",
        found=name,
        remedy=f"Did you mean '{near[0]}'?" if near else None,
    )
