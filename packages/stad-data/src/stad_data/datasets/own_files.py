"""The folder of a dataset of one's own: its annotation files and its parts."""

from pathlib import Path

from stad_data.datasets.part_lists import read_parts
from stad_eval import InputError


def annotation_files(root: Path, suffix: str) -> list[Path]:
    """``root`` itself if it is a file, else its ``annotations/*<suffix>``, else its ``*<suffix>``.

    Raises:
        InputError: There is none.
    """
    if root.is_file():
        return [root]
    for folder in (root / "annotations", root):
        found = sorted(path for path in folder.glob(f"*{suffix}") if path.is_file())
        if found:
            return found
    raise InputError(
        "no annotation file",
        path=root,
        expected=f"annotations/*{suffix}, or *{suffix}",
        found="none" if root.is_dir() else "no such file or folder",
    )


def parts_of(folder: Path, videos: list[str]) -> tuple[list[str], list[str]]:
    """The parts that the lists ``train.txt`` and ``test.txt`` give; without them all is training.

    Raises:
        InputError: As `read_parts`.
    """
    return read_parts(folder, videos) or (videos, [])


def the_json(root: Path) -> Path:
    """``root`` itself unless it is a folder, else the one ``.json`` file in it.

    Raises:
        InputError: A folder with none or several.
    """
    if not root.is_dir():
        return root
    found = sorted(path for path in root.glob("*.json") if path.is_file())
    if len(found) != 1:
        raise InputError(
            "no JSON file" if not found else "more than one JSON file",
            path=root,
            expected="one .json file",
            found=", ".join(path.name for path in found[:5]) or "none",
            remedy="name the file itself",
        )
    return found[0]
