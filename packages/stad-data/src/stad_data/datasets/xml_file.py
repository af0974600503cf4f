"""XML files, read without trust: no document type, so no entities that grow or reach outside."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from stad_eval import InputError
from stad_eval.formats import files

_DEEPEST = 64


@dataclass(kw_only=True)
class Element:
    """An element: its attributes, its text, its children, and the row where it begins."""

    path: Path
    tag: str
    attributes: dict[str, str]
    row: int
    text: str = ""
    children: list["Element"] = field(default_factory=lambda: [])

    def all(self, tag: str) -> Iterator["Element"]:
        """The children of this tag."""
        return (child for child in self.children if child.tag == tag)

    def first(self, *tags: str) -> "Element | None":
        """The first child of the first tag, its first child of the second, and so on, or None."""
        found: Element | None = self
        for tag in tags:
            found = next(found.all(tag), None) if found is not None else None
        return found

    def refuse(self, problem: str, *, expected: str, found: str) -> InputError:
        """An error about this element, to be raised."""
        return InputError(
            f"<{self.tag}>: {problem}",
            path=self.path,
            row=self.row,
            expected=expected,
            found=found,
        )

    def get(self, name: str) -> str:
        """An attribute that has to be there.

        Raises:
            InputError: It is not.
        """
        if name not in self.attributes:
            there = ", ".join(self.attributes) or "no attribute"
            raise self.refuse(f"no attribute {name!r}", expected=f'{name}="..."', found=there)
        return self.attributes[name]

    def number(self, name: str) -> float:
        """An attribute that is a finite number.

        Raises:
            InputError: It is not there, or no number.
        """
        try:
            value = float(self.get(name))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            value = float("nan")
        if not abs(value) < 1e9:
            raise self.refuse(f"bad {name}", expected="a finite number", found=self.get(name))
        return value

    def whole(self, name: str) -> int:
        """An attribute that is a whole number of at least 0.

        Raises:
            InputError: It is not there, or no such number.
        """
        return whole(self.get(name), self, name)


def whole(text: str, element: Element, name: str) -> int:
    """A whole number of at least 0 in this text of an element.

    Raises:
        InputError: It is none.
    """
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= 9):
        raise element.refuse(f"bad {name}", expected="a whole number, 0 or more", found=text[:40])
    return int(stripped)


def read_xml(path: Path) -> Element:
    """The root element of an XML file.

    Raises:
        InputError: No such file, one that is not well formed, one with a document type (which
            could define entities), or one nested more than 64 deep; with the row.
    """
    data = files.read_bytes(path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    roots: list[Element] = []
    open_elements: list[Element] = []

    def refuse(problem: str, found: str) -> InputError:
        return InputError(
            problem,
            path=path,
            row=parser.CurrentLineNumber,
            expected="a plain XML file",
            found=found,
            remedy="export the annotation again",
        )

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(open_elements) >= _DEEPEST:
            raise refuse("elements nested too deeply", f"<{tag}> in {_DEEPEST} others")
        row = parser.CurrentLineNumber
        element = Element(path=path, tag=tag, attributes=attributes, row=row)
        (open_elements[-1].children if open_elements else roots).append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        open_elements.pop()

    def text(data: str) -> None:
        open_elements[-1].text += data

    def doctype(name: str, *_: object) -> None:
        raise refuse("a document type is refused: it can define entities", f"<!DOCTYPE {name}")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InputError(
            "not a well-formed XML file",
            path=path,
            row=error.lineno,
            expected="a plain XML file",
            found=str(error),
        ) from None
    except (ValueError, LookupError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            "an XML file in an unknown encoding", path=path, found=str(error)
        ) from None
    return roots[0]
