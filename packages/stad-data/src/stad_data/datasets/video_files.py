"""Where the videos of a dataset lie, and what to do about those that are not there."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

from stad_eval import InputError
from stad_eval.formats.mask_png import natural_order

Missing = Literal["refuse", "skip", "keep"]
"""What to do about annotated videos without a file: refuse the dataset, leave them out, or keep
their annotation with the path where the file should be (to convert or count annotations)."""

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
IMAGES = (".jpg", ".jpeg", ".png")


def find(places: Iterable[Path], suffixes: Iterable[str] = SUFFIXES) -> Path | None:
    """The first file at one of these paths, any of the suffixes added; None without any."""
    suffixes = tuple(suffixes)
    candidates = (place.with_name(place.name + end) for place in places for end in suffixes)
    return next((path for path in candidates if path.is_file()), None)


def images(folder: Path) -> list[Path]:
    """The images of a folder that stands for a video, in the order of the numbers in their names.

    Empty where there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGES)
    return sorted(found, key=lambda path: natural_order(path.stem))


def present(
    found: Mapping[str, Path | None],
    *,
    expected: Callable[[str], Path],
    missing: Missing,
    listed_in: Path,
    row: Callable[[str], int | str | None] = lambda _: None,
) -> dict[str, Path]:
    """The videos to go on with and their paths, in order.

    Args:
        found: The file of every video of the dataset, or None.
        expected: Where the file of a video should be.
        missing: What to do about videos without a file.
        listed_in: The file that names the videos, for the error.
        row: The row of that file which names a video.

    Raises:
        InputError: A video without a file where ``missing="refuse"``, or an unknown ``missing``.
    """
    if missing not in ("refuse", "skip", "keep"):
        raise InputError(
            "unknown way to deal with missing videos",
            expected='"refuse", "skip" or "keep"',
            found=str(missing),
        )
    absent = [video for video, path in found.items() if path is None]
    if absent and missing == "refuse":
        raise InputError(
            f"{len(absent)} of {len(found)} annotated videos have no file",
            path=listed_in,
            row=row(absent[0]),
            expected=str(expected(absent[0])),
            found="no file for " + ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else ""),
            remedy='put them there, or go on without them by missing="skip" (--missing skip;'
            " data.missing in a recipe)",
        )
    if missing == "keep":
        return {video: path or expected(video) for video, path in found.items()}
    return {video: path for video, path in found.items() if path is not None}
