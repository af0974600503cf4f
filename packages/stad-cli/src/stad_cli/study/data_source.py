"""The data of a study: a synthetic set that is made once and kept, or a folder of real data."""

import fcntl
import hashlib
import inspect
import json
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from stad_cli.config import nearest
from stad_cli.progress import progress
from stad_cli.recipe_settings import Settings
from stad_cli.study.study_file import Study
from stad_data.synthetic import make
from stad_data.synthetic.making import world_version
from stad_data.synthetic.scene import Layout
from stad_eval import InputError

# Where the set lies and who draws it: no property of it. `layout` stands for `layouts`.
_NOT_THE_SETS = ("out", "layouts", "workers", "progress")


def data_settings(study: Study) -> tuple[Settings, frozenset[str]]:
    """What of the data decides a result, and which of these keys are not at their default.

    A folder counts by the name that the study gives it, whatever it is called on this machine.

    Raises:
        InputError: An unknown option of the synthetic set, or a value of the wrong kind.
    """
    source = study.file.data
    if source.synthetic is None:
        return {"study.data.folder": source.folder}, frozenset({"study.data.folder"})
    given = _options(study, source.synthetic)
    usual = _defaults()
    table: dict[str, Any] = {"layout": "ava", **usual, **given}
    table["world_version"] = world_version([table["layout"]])
    plain = json.loads(json.dumps(table))
    chosen = [key for key in table if key not in usual or table[key] != usual[key]]
    return (
        {f"study.data.{key}": value for key, value in plain.items()},
        frozenset(f"study.data.{key}" for key in chosen),
    )


def find_data(study: Study, *, given: Path | None, cache: Path, workers: int = 2) -> Path:
    """The folder to train on; a synthetic set is made in `cache` where it is not there yet.

    Args:
        study: Names its data.
        given: A folder to take instead.
        cache: Holds synthetic sets, each under a name of its own.
        workers: Processes that draw a set.

    Raises:
        InputError: No such folder, or options that no set can be made with.
        OSError: The set cannot be written.
    """
    if given is not None:
        return _existing(given)
    source = study.file.data
    if source.synthetic is None:
        return _real(study, source.folder or "")
    table, _ = data_settings(study)
    layout = str(table["study.data.layout"])
    digest = hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:10]
    root = cache / f"{layout}-{digest}"
    options = _options(study, source.synthetic)
    options.pop("layout", None)
    cache.mkdir(parents=True, exist_ok=True)
    with alone(cache / f".{root.name}.lock"), progress("drawing videos", None) as advance:
        made = make(
            root,
            layouts=[layout],  # pyright: ignore[reportArgumentType] - checked by _options
            workers=workers,
            progress=_increments(advance),
            **options,
        )
    return made.root / layout


@contextmanager
def alone(path: Path, *, busy: Callable[[], None] = lambda: None) -> Generator[None]:
    """Inside, this process alone holds the lock file `path`; others are told `busy` and wait."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _options(study: Study, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the set, each of its kind."""
    hints: dict[str, Any] = {"layout": Layout, **get_type_hints(make)}
    known = ["layout", *_defaults()]
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise InputError(
                f"unknown option data.synthetic.{key}", path=study.path, remedy=nearest(key, known)
            )
        try:
            found[key] = TypeAdapter(hints[key]).validate_python(value)
        except ValidationError as error:
            raise InputError(
                f"data.synthetic.{key} has a value that cannot be used",
                path=study.path,
                expected=f"one of {', '.join(get_args(Layout))}"
                if key == "layout"
                else error.errors()[0]["msg"].removeprefix("Input should be "),
                found=repr(value),
            ) from None
    return found


def _defaults() -> dict[str, Any]:
    parameters = inspect.signature(make).parameters
    return {key: one.default for key, one in parameters.items() if key not in _NOT_THE_SETS}


def _real(study: Study, folder: str) -> Path:
    places = [Path(folder)]
    root = os.environ.get("STAD_DATA")
    if root and not Path(folder).is_absolute():
        places.append(Path(root) / folder)
    for place in places:
        if place.exists():
            return place
    raise InputError(
        "the study's data is not here",
        path=study.path,
        expected=" or ".join(str(place) for place in places),
        remedy="name the dataset's folder by --data, or the folder that holds it by STAD_DATA",
    )


def _existing(path: Path) -> Path:
    if path.exists():
        return path
    raise InputError("no such data folder", path=path, remedy="name the dataset's folder by --data")


def _increments(advance: Callable[[int], None]) -> Callable[[int, int], None]:
    done = 0

    def tell(now: int, _: int) -> None:
        nonlocal done
        advance(now - done)
        done = now

    return tell
