"""Which number in a file is which class, in all the dialects that datasets come with."""

import csv
import re
from pathlib import Path

from stad_eval import InputError, LabelMap, read_label_map
from stad_eval.formats import files

_BLOCKS = re.compile(r"(?:\s|#[^\n]*\n)*(?:item|label)\s*\{")
_LINE = re.compile(r"\s*(\d{1,9})(?:\s*[:,]\s*|\s+)(\S.*?)\s*")


def read_class_list(path: Path | str) -> LabelMap:
    """The classes of a label map, in order of their ids.

    Read are AVA's pbtxt in both dialects (``item { name: "stand" id: 12 }`` and
    ``label { name: "stand" label_id: 12 label_type: PERSON_MOVEMENT }``), its CSV with the header
    ``label_id,label_name,label_type``, and lines ``12: stand`` or ``12 stand``.

    Raises:
        InputError: With the row, if the file is none of these, is empty, or a name or an id stands
            twice.
    """
    path = Path(path)
    text = files.read_text(path)
    if _BLOCKS.match(text):
        return read_label_map(path)
    lines = text.splitlines()
    header = lines[0].lower().split(",") if lines else []
    entries = _table(lines, header, path) if "label_name" in header else _lines(lines, path)
    if not entries:
        raise InputError("an empty label map", path=path, expected="at least one class")
    try:
        return LabelMap([name for _, name in entries], [number for number, _ in entries])
    except InputError as error:
        raise InputError(
            error.problem, path=path, expected=error.expected, found=error.found
        ) from None


def _table(lines: list[str], header: list[str], path: Path) -> list[tuple[int, str]]:
    entries: list[tuple[int, str]] = []
    columns = [header.index(name) if name in header else -1 for name in ("label_id", "label_name")]
    reader = csv.reader(lines[1:], strict=True)
    while True:
        row = reader.line_num + 2
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(f"not a CSV file ({error})", path=path, row=row) from None
        if fields is None:
            return entries
        if not fields:
            continue
        values = [fields[at].strip(" \t") if 0 <= at < len(fields) else "" for at in columns]
        if len(fields) != len(header) or not _is_id(values[0]) or not values[1]:
            raise _bad_row(path, row, ",".join(header), ",".join(fields))
        entries.append((int(values[0]), values[1]))


def _lines(lines: list[str], path: Path) -> list[tuple[int, str]]:
    entries: list[tuple[int, str]] = []
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line)
        if found is None or not _is_id(found[1]):
            raise _bad_row(path, row, 'item { name: "..." id: 1 }, or "1: name"', line)
        entries.append((int(found[1]), found[2]))
    return entries


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _bad_row(path: Path, row: int, expected: str, found: str) -> InputError:
    return InputError("not a label map", path=path, row=row, expected=expected, found=found[:80])
