"""YouTube-VOS: objects of 94 categories, by index masks in palette PNG files.

``<root>/train/`` and ``<root>/valid/``, each with ``Annotations/<video>/00000.png``,
``JPEGImages/<video>/00000.jpg`` and ``meta.json``: ``{"videos": {"<video>": {"objects": {"1":
{"category": "penguin", "frames": ["00000", ...]}}}}}``. The root may be such a folder itself; its
videos are then for training.

Pixel k is object k, 0 background. Every fifth frame of the video has a mask (of a validation video
only those where an object appears first); with the published images, which are those frames, they
count 0, 1, 2, ...; without them the numbers in the names count.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stad_data.annotation import ActionClasses, Dataset, VideoAnnotation
from stad_data.datasets import video_files
from stad_data.datasets.object_masks import annotate
from stad_data.datasets.tree import read_json
from stad_data.datasets.video_files import Missing
from stad_eval import InputError
from stad_eval.formats.youtube_vos_meta import read_youtube_vos_classes

_PARTS = {"train": "train", "valid": "test"}


def read(root: Path | str, *, missing: Missing = "refuse") -> Dataset:
    """The dataset; ``test`` is the validation part. Every mask is read for the objects' boxes.

    The classes are the categories that either ``meta.json`` names, in alphabetical order.

    Args:
        root: Folder that holds ``train`` and ``valid``, or one of the two.
        missing: What to do about videos without images.

    Raises:
        InputError: No annotation, a damaged or contradictory one, or videos without images where
            ``missing="refuse"``.
    """
    root = Path(root)
    parts = {part: root / name for name, part in _PARTS.items() if _is_part(root / name)}
    if _is_part(root):
        parts = {"train": root}
    if not parts:
        raise InputError(
            "no YouTube-VOS annotation",
            path=root,
            expected="train/meta.json and train/Annotations/<video>/00000.png",
            found="none",
            remedy="`davis` reads folders of masks without meta.json, as objects of one class",
        )
    # Reads strictly first: a key given twice would silently replace an object.
    for folder in parts.values():
        read_json(folder / "meta.json")
    metas = {part: read_youtube_vos_classes(folder / "meta.json") for part, folder in parts.items()}
    names = sorted(
        {n for meta in metas.values() for objects in meta.values() for n in objects.values()}
    )
    if not names:
        raise InputError("no object has a category", path=next(iter(parts.values())) / "meta.json")
    classes = ActionClasses(names=tuple(names), ids=tuple(range(1, len(names) + 1)), exclusive=True)
    videos = {
        part: _videos(folder, metas[part], classes, missing) for part, folder in parts.items()
    }
    return Dataset(
        name="youtube-vos",
        classes=classes,
        train=videos.get("train", ()),
        test=videos.get("test", ()),
        protocol="dense",
    )


def _is_part(folder: Path) -> bool:
    return (folder / "meta.json").is_file() and (folder / "Annotations").is_dir()


def _videos(
    folder: Path, meta: dict[str, dict[int, str]], classes: ActionClasses, missing: Missing
) -> tuple[VideoAnnotation, ...]:
    images = folder / "JPEGImages"
    paths = video_files.present(
        {video: images / video if video_files.images(images / video) else None for video in meta},
        expected=lambda video: images / video,
        missing=missing,
        listed_in=folder / "meta.json",
    )

    def one(video: str) -> VideoAnnotation:
        labels = {index: classes.index_of_name[name] for index, name in meta[video].items()}
        return annotate(
            video=video,
            masks=folder / "Annotations" / video,
            images=paths[video],
            labels=labels,
            num_classes=len(classes),
            source=folder / "meta.json",
        )

    # Inflating the masks is most of the time and runs outside the interpreter's lock.
    with ThreadPoolExecutor(max_workers=4) as pool:
        return tuple(pool.map(one, paths))
