"""What is said about input that a schema refuses: the key, and what would be right."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stad_eval import InputError


def nearest(word: str, words: Sequence[str]) -> str:
    """What to say about an unknown word: the nearest ones, or all of them."""
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "choose from: " + ", ".join(words)


def refuse(
    error: ValidationError, schema: type[BaseModel], *, what: str, path: Path | None
) -> NoReturn:
    """Turn what pydantic complains of into one sentence that names the key.

    Args:
        error: What validation against `schema` raised.
        schema: Of the whole file.
        what: The file's kind: "recipe", "study".
        path: The file, where there is one.

    Raises:
        InputError: Always.
    """
    found = error.errors(include_url=False)
    # A key that is missing is often there under a mistyped name.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    place = [str(part) for part in first["loc"]]
    key = ".".join(place) or f"the {what}"
    if first["type"] == "extra_forbidden":
        raise InputError(
            f"unknown {what} key {key}",
            path=path,
            remedy=nearest(place[-1], _keys(schema, place[:-1])),
        ) from None
    if first["type"] == "missing":
        raise InputError(f"the {what} lacks {key}", path=path, remedy=f"add {key}") from None
    raise InputError(
        f"{key} has a value that cannot be used",
        path=path,
        expected=_expected(first),
        found=repr(first["input"]) if place and not isinstance(first["input"], dict) else None,
    ) from None


def _expected(first: ErrorDetails) -> str:
    return first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")


def _keys(schema: type[BaseModel], place: Sequence[str]) -> list[str]:
    section = schema
    for part in place:
        field = section.model_fields.get(part)  # none: a number of a list
        section = (_section_in(field.annotation) if field else None) or section
    return list(section.model_fields)


def _section_in(annotation: object) -> type[BaseModel] | None:
    """The table that a field takes: itself, one side of "X | None", or the items of a list."""
    for kind in get_args(annotation) or (annotation,):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
