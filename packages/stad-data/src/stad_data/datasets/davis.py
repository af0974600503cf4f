"""DAVIS 2017: objects in short films, by index masks in palette PNG files.

``<root>/Annotations/480p/<film>/00000.png`` (or ``Annotations_unsupervised``, or the film folders
in the root itself, as results are laid out, or the root is one film),
``<root>/JPEGImages/480p/<film>/00000.jpg``, and ``<root>/ImageSets/2017/train.txt`` and ``val.txt``
with one film per line. Without lists the sets of ``<root>/db_info.yaml`` are taken, and without
those all films are for training.

Pixel k is object k, 0 background, 255 undecided. There are no classes: all objects are ``object``.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stad_data.annotation import ActionClasses, Dataset, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.object_masks import annotate
from stad_data.datasets.video_files import Missing
from stad_eval import InputError
from stad_eval.formats import files

_CLASSES = ActionClasses(names=("object",), ids=(1,), exclusive=True)
_FIELD = re.compile(r"(?:- |  )(\w+):\s*(\S.*?)?\s*")


def read(
    root: Path | str,
    *,
    missing: Missing = "refuse",
    annotations: Literal["Annotations", "Annotations_unsupervised"] = "Annotations",
    resolution: str = "480p",
) -> Dataset:
    """The dataset; ``test`` is the validation set. Every mask is read for the objects' boxes.

    Args:
        root: Folder that holds the masks, or the masks of one film.
        missing: What to do about films without images.
        annotations: Which annotation.
        resolution: Name of the subfolder of masks and images.

    Raises:
        InputError: No masks, a damaged one, a list that names films without masks, or films
            without images where ``missing="refuse"``.
    """
    root = Path(root)
    masks = root / annotations / resolution
    if not masks.is_dir():
        masks = root
    there = sorted(path.name for path in _folders(masks) if any(path.glob("*.png")))
    if not there and any(root.glob("*.png")):
        masks, there, root = root.parent, [root.name], root.parent
    if not there:
        raise InputError(
            "no DAVIS masks",
            path=root,
            expected=f"{annotations}/{resolution}/<film>/00000.png",
            found="none",
        )
    train, test, source = _sets(root, there)
    images = root / "JPEGImages" / resolution
    paths = video_files.present(
        {
            film: images / film if video_files.images(images / film) else None
            for film in (*train, *test)
        },
        expected=lambda film: images / film,
        missing=missing,
        listed_in=source,
    )

    def one(film: str) -> VideoAnnotation:
        return annotate(
            video=film,
            masks=masks / film,
            images=paths[film],
            labels=None,
            num_classes=1,
            source=source,
        )

    # Inflating the masks is most of the time and runs outside the interpreter's lock.
    with ThreadPoolExecutor(max_workers=4) as pool:
        videos = dict(zip(paths, pool.map(one, paths), strict=True))
    return Dataset(
        name="davis2017",
        classes=_CLASSES,
        train=tuple(videos[film] for film in train if film in videos),
        test=tuple(videos[film] for film in test if film in videos),
        protocol="dense",
    )


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One film of ``db_info.yaml``: its length, its set ("train", "val", ...) and its year."""

    name: str
    num_frames: int
    set: str
    year: int


def read_sequences(path: Path | str) -> dict[str, Sequence]:
    """The films of ``db_info.yaml`` by name, in the order of the file.

    Read is the form that the file has, a list of ``- name: ...`` with ``key: value`` lines below.

    Raises:
        InputError: No such list, or a film without its length, set and year, with the row.
    """
    entries: list[tuple[int, dict[str, str]]] = []
    inside = False
    for row, line in enumerate(files.read_text(path).splitlines(), start=1):
        if re.match(r"\w", line):
            inside = line.startswith("sequences:")
            continue
        if not inside or not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _FIELD.fullmatch(line)
        if found is None or (not entries and not line.startswith("- ")):
            raise InputError(
                "not a list of films", path=path, row=row, expected="key: value", found=line[:60]
            )
        if line.startswith("- "):
            entries.append((row, {}))
        entries[-1][1][found[1]] = found[2] or ""
    films: dict[str, Sequence] = {}
    for row, entry in entries:
        numbers = [entry.get(key, "") for key in ("num_frames", "year")]
        whole = all(each.isascii() and each.isdigit() and len(each) < 9 for each in numbers)
        if not whole or not entry.get("name") or not entry.get("set") or entry["name"] in films:
            raise InputError(
                "a film of another form, or one listed twice",
                path=path,
                row=row,
                expected="name, num_frames, set and year",
                found=str(entry)[:120],
            )
        films[entry["name"]] = Sequence(
            name=entry["name"],
            num_frames=int(numbers[0]),
            set=entry["set"],
            year=int(numbers[1]),
        )
    if not films:
        raise InputError("no films", path=path, expected="sequences: and a list", found="none")
    return films


def _folders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _sets(root: Path, there: list[str]) -> tuple[list[str], list[str], Path]:
    """Training and validation films, and the file that says so."""
    lists = [root / "ImageSets" / "2017" / f"{name}.txt" for name in ("train", "val")]
    if any(path.is_file() for path in lists):
        train, test = (_listed(path, there) if path.is_file() else [] for path in lists)
        return train, test, next(path for path in lists if path.is_file())
    if (info := root / "db_info.yaml").is_file():
        films = read_sequences(info)
        sets = {name: [film for film in there if _set(films, film) == name] for name in _SETS}
        return sets["train"], sets["val"], info
    return there, [], root


_SETS = ("train", "val")


def _set(films: dict[str, Sequence], film: str) -> str | None:
    return films[film].set if film in films else None


def _listed(path: Path, there: list[str]) -> list[str]:
    found: dict[str, int] = {}
    for row, line in enumerate(files.read_text(path).splitlines(), start=1):
        film = line.strip()
        if not film:
            continue
        if film not in there or film in found:
            raise InputError(
                "a listed film without masks" if film not in there else "a film listed twice",
                path=path,
                row=row,
                expected="one film per line, each once",
                found=film,
            )
        found[film] = row
    return list(found)
