"""Which videos of a folder are for training and which for test, by two lists of names."""

from collections.abc import Iterable
from pathlib import Path

from stad_eval import InputError
from stad_eval.formats import files


def read_parts(root: Path, videos: Iterable[str]) -> tuple[list[str], list[str]] | None:
    """The videos of ``<root>/train.txt`` and ``<root>/test.txt``; None if neither is there.

    One video per line, by its name. With one list alone, all other videos are in the other part;
    with both, a video that neither names is in no part.

    Raises:
        InputError: A name that is not among ``videos``, or one that is listed twice.
    """
    known = list(videos)
    lists = {part: root / f"{part}.txt" for part in ("train", "test")}
    there = {part: path for part, path in lists.items() if path.is_file()}
    if not there:
        return None
    place: dict[str, str] = {}
    parts: dict[str, list[str]] = {"train": [], "test": []}
    for part, path in there.items():
        for row, line in enumerate(files.read_text(path).splitlines(), start=1):
            video = line.strip()
            if not video:
                continue
            if video not in known or video in place:
                raise InputError(
                    "a listed video without annotation" if video not in known else "listed twice",
                    path=path,
                    row=row,
                    expected=f"each once, one of {', '.join(known[:5])}"
                    + (" ..." if len(known) > 5 else ""),
                    found=video + (f", also in {place[video]}" if video in place else ""),
                )
            place[video] = f"{path.name}, row {row}"
            parts[part].append(video)
    if len(there) == 1:
        other = "test" if "train" in there else "train"
        parts[other] = [video for video in known if video not in place]
    return parts["train"], parts["test"]
