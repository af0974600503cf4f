"""The layouts of datasets by name, and how each is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from stad_cli.dataset_names import DATASET_NAMES
from stad_data import Dataset
from stad_data.datasets import (
    act,
    ava,
    ava_kinetics,
    coco_video,
    cvat,
    davis,
    jhmdb,
    label_studio,
    multisports,
    stad_json,
    ucf24,
    ucf_sports,
    youtube_vos,
)
from stad_data.datasets.video_files import Missing
from stad_eval import InputError
from stad_eval.class_lists import MULTISPORTS
from stad_eval.formats.tube_arrays import Corners


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a folder does not say about itself.

    Attributes:
        split: Which split, where a dataset has several.
        missing: What to do about annotated videos without a file.
        label_map: AVA's label map, or MultiSports' beside a CSV; by default the folder's.
        size: (width, height) of videos that are not there, where boxes are shares of the frame.
        fps: Frame rate of AVA videos that are not there.
        first_second: The second at which AVA videos begin; by default 900.
        time: What AVA's second column counts.
        actions: Where CVAT's actions stand: "label", "attribute:<name>" or "checkboxes".
        corners: What the corners of ACT's boxes are.
        index: File that keeps AVA's annotation (`stad_data.annotation_index`); None: none does.
    """

    split: int = 1
    missing: Missing = "refuse"
    label_map: Path | None = None
    size: tuple[int, int] | None = None
    fps: float = 30.0
    first_second: float = 900.0
    time: Literal["second", "frame"] = "second"
    actions: str = "label"
    corners: Corners = "half-open"
    index: Path | None = None


def canonical(name: str, known: Sequence[str] = DATASET_NAMES) -> str:
    """The name of a layout, with underscores and capitals forgiven.

    Raises:
        InputError: There is none, naming the nearest.
    """
    plain = name.lower().replace("_", "-")
    if plain in known:
        return plain
    near = get_close_matches(plain, known, n=1)
    raise InputError(
        f"unknown dataset {name!r}",
        expected=", ".join(known),
        remedy=f"did you mean {near[0]!r}?" if near else None,
    )


def read(name: str, root: Path, reading: Reading) -> Dataset:
    """Read a dataset's annotations.

    Args:
        name: One of `DATASET_NAMES`.
        root: Its folder, or its one file.
        reading: What the folder does not say.

    Raises:
        InputError: An unknown name, or files that are not of this layout.
    """
    form, missing = canonical(name), reading.missing
    if form in ("ava", "synthetic"):
        return ava.read(
            root,
            first_second=reading.first_second,
            label_map=reading.label_map,
            missing=missing,
            time=reading.time,
            size=reading.size,
            fps=reading.fps,
            index=reading.index,
        )
    if form == "ava-kinetics":
        return ava_kinetics.read(
            root,
            label_map=reading.label_map,
            missing=missing,
            size=reading.size,
            fps=reading.fps,
        )
    if form == "multisports":
        return _multisports(root, reading)
    if form == "act":
        return act.read(root, split=reading.split, missing=missing, corners=reading.corners)
    if form in ("jhmdb", "ucf24"):
        by_split = {"jhmdb": jhmdb.read, "ucf24": ucf24.read}
        return by_split[form](root, split=reading.split, missing=missing)
    return _without_split(form, root, reading)


def _multisports(root: Path, reading: Reading) -> Dataset:
    tables = sorted(root.glob("*.csv")) if root.is_dir() else []
    pickles = any(any((root / folder).glob("*.pkl")) for folder in (".", "trainval"))
    if len(tables) == 1 and not pickles:
        root = tables[0]
    if root.suffix.lower() != ".csv":
        return multisports.read(root, split=reading.split, missing=reading.missing)
    labels = reading.label_map or MULTISPORTS
    return multisports.read_csv(root, labels=labels, missing=reading.missing, size=reading.size)


def _without_split(form: str, root: Path, reading: Reading) -> Dataset:
    missing = reading.missing
    if form == "ucf-sports":
        return ucf_sports.read(root, missing=missing, size=reading.size)
    if form == "cvat":
        return cvat.read(root, missing=missing, actions=reading.actions)
    if form == "label-studio":
        return label_studio.read(root, missing=missing, size=reading.size)
    plain = {
        "youtube-vos": youtube_vos.read,
        "davis": davis.read,
        "json": stad_json.read,
        "coco-video": coco_video.read,
    }
    return plain[form](root, missing=missing)
