"""Reading of this project's own JSON files: errors name the place in the file's tree."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from stad_eval.formats.files import read_text
from stad_eval.input_error import InputError


@dataclass(frozen=True, kw_only=True)
class JsonFields:
    """Takes values of one file apart and refuses those of another form.

    A place such as "videos.street.size" says where in the file a value stands; "" is all of it.
    Every method raises an InputError with the file, the place and what was expected.

    Attributes:
        path: the file.
    """

    path: Path

    def content(self) -> object:
        """The file's content.

        Raises:
            InputError: no such file, no JSON, or a key that stands twice in one object.
            OSError: it cannot be read.
        """
        text = read_text(self.path)
        try:
            return json.loads(text, object_pairs_hook=self._distinct)
        except InputError:
            raise
        except (ValueError, RecursionError) as error:
            row = error.lineno if isinstance(error, json.JSONDecodeError) else None
            raise InputError(f"not JSON ({error})"[:300], path=self.path, row=row) from None

    def fail(self, place: str, problem: str, expected: str, found: object) -> NoReturn:
        """Refuse the value at a place."""
        raise InputError(
            f"at {place}: {problem}" if place else problem,
            path=self.path,
            expected=expected,
            found=json.dumps(found)[:120],
        )

    def header(
        self, content: object, *, name: str, version: int
    ) -> tuple[dict[str, int], dict[str, Any]]:
        """The classes, name to index, and the videos, by name, of a file of that format."""
        whole = self.keyed("", content, {"format", "version", "classes", "videos"})
        if whole["format"] != name:
            self.fail("format", "another format", f'"{name}"', whole["format"])
        if type(whole["version"]) is not int or whole["version"] != version:
            self.fail("version", "another version", f"{version}", whole["version"])
        names = whole["classes"]
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            self.fail("classes", "bad classes", "a list of names", names)
        index = {each: at for at, each in enumerate(names)}
        if len(index) != len(names):
            self.fail("classes", "a class stands twice", "distinct names", names)
        if not isinstance(whole["videos"], dict):
            self.fail("videos", "bad videos", "an object by video name", whole["videos"])
        return index, whole["videos"]

    def keyed(
        self, place: str, value: object, needed: set[str], allowed: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        """An object that has all the needed keys, and of others only those allowed."""
        expected = f"an object with {', '.join(sorted(needed))}"
        if allowed:
            expected = f"{expected}, perhaps {', '.join(sorted(allowed))}"
        if not isinstance(value, dict):
            self.fail(place, "not an object", expected, value)
        if not needed <= set(value) or not set(value) <= needed.union(allowed):
            self.fail(place, "wrong keys", expected, ", ".join(sorted(value)))
        return value

    def size(self, place: str, value: object) -> tuple[int, int]:
        """(width, height)."""
        pair: list[Any] = value if isinstance(value, list) else []
        if len(pair) != 2 or not all(type(each) is int and each > 0 for each in pair):
            self.fail(place, "bad size", "[width, height], whole and positive", value)
        return pair[0], pair[1]

    def number(self, place: str, value: object) -> float:
        """A finite number; true and false are none."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
            self.fail(place, "bad number", "a finite number", value)
        return float(value)

    def _distinct(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise InputError("a key stands twice in one object", path=self.path, found=repeated)
        return result
