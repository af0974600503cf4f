"""The classes of YouTube-VOS' objects, from the meta.json of a split.

{"videos": {"003234408d": {"objects": {"1": {"category": "penguin", "frames": ["00000"]}}}}}
"""

import json
from pathlib import Path
from typing import Any, NoReturn

from stad_eval.formats.files import read_text
from stad_eval.input_error import InputError


def read_youtube_vos_classes(path: str | Path) -> dict[str, dict[int, str]]:
    """The class name of every object, by video and object index.

    Raises:
        InputError: naming the place, on anything but the layout above; keys beyond it are passed
            over.
    """
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        row = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise InputError(f"not JSON ({error})", path=path, row=row) from None

    def fail(place: str, expected: str, found: object) -> NoReturn:
        text = json.dumps(found)[:120]
        raise InputError(f"at {place}: bad entry", path=path, expected=expected, found=text)

    def table(place: str, value: object, key: str) -> dict[str, Any]:
        inner = value.get(key) if isinstance(value, dict) else None
        if not isinstance(inner, dict):
            fail(place, f"an object that holds an object '{key}'", value)
        return inner

    classes: dict[str, dict[int, str]] = {}
    for video, entry in table("the top", content, "videos").items():
        place = f"videos.{video}"
        classes[video] = {}
        for index, thing in table(place, entry, "objects").items():
            if not (index.isascii() and index.isdigit() and 1 <= int(index[:4]) <= 254):
                fail(f"{place}.objects", "object indices, 1 to 254", index)
            category = thing.get("category") if isinstance(thing, dict) else None
            if not isinstance(category, str):
                fail(f"{place}.objects.{index}", "a 'category', a name", thing)
            classes[video][int(index)] = category
    return classes
