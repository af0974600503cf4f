r"""Label maps: which id in a file is which class. Two pbtxt dialects are read.

item { name: "stand" id: 12 }
label { name: "stand" label_id: 12 label_type: PERSON_MOVEMENT }
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stad_eval.formats.files import read_text
from stad_eval.input_error import InputError

_BLOCK = re.compile(r"\s*(\w+)\s*\{((?:[^{}\"']|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')*)\}")
_FIELD = re.compile(
    r"\s*(\w+)\s*:\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s\"'{}]+)\s*[,;]?\s*"
)
_COMMENT = re.compile(r"^\s*#.*$", re.M)
_KEYS = {"item": "id", "label": "label_id"}


class LabelMap(tuple[str, ...]):
    """Class names, in order of their ids, together with those ids.

    It is a tuple of names, so that it stands wherever class names do (`Boxes.classes`), and it
    knows how files number them. Ids need not be contiguous: AVA's 60 evaluated classes are numbered
    from 1 to 80.

    Raises:
        InputError: if names or ids repeat, differ in number, or a name is empty.
    """

    ids: tuple[int, ...]

    def __new__(cls, names: Iterable[str], ids: Iterable[int]) -> "LabelMap":
        """Names with their ids, one each; they are put in order of the ids."""
        pairs = list(zip(names := tuple(names), ids := tuple(ids), strict=False))
        if len(names) != len(ids):
            found = f"{len(names)} names, {len(ids)} ids"
            raise InputError("label map: names and ids differ in number", found=found)
        for kind, values in (("name", names), ("id", ids)):
            if len(set(values)) != len(values):
                repeated = next(each for each in values if values.count(each) > 1)
                raise InputError(f"label map: a {kind} stands twice", found=repeated)
        if any(not name for name in names):
            raise InputError("label map: a class without a name", expected="a name for every id")
        pairs.sort(key=lambda pair: pair[1])
        result = super().__new__(cls, (name for name, _ in pairs))
        result.ids = tuple(each for _, each in pairs)
        return result

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self.ids


def read_label_map(path: str | Path) -> LabelMap:
    """The label map in a pbtxt file of either dialect (AVA's `item` and `label` blocks).

    Raises:
        InputError: with the row, if the file is neither, a block lacks its name or id, or a name or
            id stands twice.
    """
    text = _COMMENT.sub("", read_text(path))
    names: list[str] = []
    ids: list[int] = []
    at = 0
    while text[at:].strip():
        block = _BLOCK.match(text, at)
        row = text.count("\n", 0, at + len(text[at:]) - len(text[at:].lstrip())) + 1
        if block is None or block[1] not in _KEYS:
            raise InputError(
                "not a label map",
                path=path,
                row=row,
                expected='item { name: "..." id: 1 } or label { name: "..." label_id: 1 }',
                found=text[at:].strip().splitlines()[0][:80],
            )
        name, number = _entry(block[1], block[2], path, row)
        names.append(name)
        ids.append(number)
        at = block.end()
    if not names:
        raise InputError("an empty label map", path=path, expected="at least one class")
    try:
        return LabelMap(names, ids)
    except InputError as error:
        raise InputError(
            error.problem, path=path, expected=error.expected, found=error.found
        ) from None


def _entry(kind: str, body: str, path: str | Path, row: int) -> tuple[str, int]:
    fields: dict[str, str] = {}
    at = 0
    while body[at:].strip():
        field = _FIELD.match(body, at)
        if field is None:
            found = body[at:].strip().splitlines()[0][:80]
            raise InputError(
                f"bad '{kind}'", path=path, row=row, expected="key: value", found=found
            )
        fields[field[1]] = field[2]
        at = field.end()
    name, number = fields.get("name", ""), fields.get(_KEYS[kind], "")
    if name[:1] not in ('"', "'") or not re.fullmatch(r"\d{1,9}", number):
        raise InputError(
            f"bad '{kind}'",
            path=path,
            row=row,
            expected=f'name: "..." and {_KEYS[kind]}: a whole number',
            found=" ".join(body.split()),
        )
    return re.sub(r"\\(.)", r"\1", name[1:-1]), int(number)
