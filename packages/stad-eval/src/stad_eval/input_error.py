"""The one exception for input that the user has to mend."""

from pathlib import Path
from typing import Any


class InputError(ValueError):
    """Bad input: what is wrong, where, what was expected, what came and what to do about it.

    `str()` is one readable message with all given parts. The exception survives pickling, so that
    it can cross the border of a worker process.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | Path | None = None,
        row: int | str | None = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.path = None if path is None else Path(path)
        self.row = row
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        place = [] if self.path is None else [str(self.path)]
        if self.row is not None:
            place.append(f"row {self.row}")
        text = f"{', '.join(place)}: {self.problem}" if place else self.problem
        facts = [
            f"{name} {_brief(value)}"
            for name, value in (("expected", self.expected), ("found", self.found))
            if value is not None
        ]
        if facts:
            text = f"{text}: {', '.join(facts)}"
        return f"{text}. {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[Any, ...]:
        keys = ("path", "row", "expected", "found", "remedy")
        return _rebuild, (self.problem, {key: getattr(self, key) for key in keys})


def _rebuild(problem: str, parts: dict[str, Any]) -> InputError:
    return InputError(problem, **parts)


def _brief(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else f"{text[:297]}..."
