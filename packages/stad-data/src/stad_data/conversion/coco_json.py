"""Write a dataset as COCO's JSON for videos (`stad_data.datasets.coco_video` reads it)."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from stad_data.annotation import Dataset, VideoAnnotation
from stad_data.conversion import losses
from stad_data.conversion.stad_json import relative
from stad_eval.formats.files import replaced


def write(dataset: Dataset, out: Path) -> list[str]:
    """Write ``videos``, ``images`` (the annotated frames), ``annotations`` and ``categories``.

    Each annotation is one box with one category; an actor with several labels has several with the
    same ``instance_id`` in one image. ``bbox`` is ``x, y, width, height`` in half-open pixels.

    Returns:
        What the form cannot hold.

    Raises:
        InputError: The folder to write to does not exist.
        OSError: The file cannot be written.
    """
    videos: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (part, annotation) in enumerate(losses.videos_of(dataset), start=1):
        videos.append(_video(number, part, annotation, out))
        first = len(images) + 1
        images += _images(number, annotation, first)
        annotations += _annotations(
            number, annotation, dataset.classes.ids, first, len(annotations) + 1
        )
    content = {
        "info": {
            "name": dataset.name,
            "protocol": dataset.protocol,
            "exclusive": dataset.classes.exclusive,
        },
        "videos": videos,
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": name}
            for number, name in zip(dataset.classes.ids, dataset.classes.names, strict=True)
        ],
    }
    with replaced(out) as stream:
        json.dump(content, stream, ensure_ascii=False)
        stream.write("\n")
    return [*losses.unlabelled(dataset), *losses.masks(dataset)]


def _video(number: int, part: str, annotation: VideoAnnotation, out: Path) -> dict[str, Any]:
    return {
        "id": number,
        "name": annotation.video,
        "file_name": relative(annotation.path, out),
        "width": annotation.size[0],
        "height": annotation.size[1],
        "length": annotation.num_frames,
        "fps": annotation.fps,
        "split": part,
    }


def _images(number: int, annotation: VideoAnnotation, first: int) -> list[dict[str, Any]]:
    seconds = annotation.timestamps
    found: list[dict[str, Any]] = []
    for at, frame in enumerate(annotation.keyframes.tolist()):
        image = {
            "id": first + at,
            "video_id": number,
            "frame_id": frame,
            "file_name": f"{annotation.video}/{frame:06d}.jpg",
            "width": annotation.size[0],
            "height": annotation.size[1],
        }
        found.append(image if seconds is None else {**image, "timestamp": int(seconds[at])})
    return found


def _annotations(
    number: int, annotation: VideoAnnotation, ids: tuple[int, ...], image: int, first: int
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for track in annotation.tracks:
        places = np.searchsorted(annotation.keyframes, track.frames).tolist()
        sizes = track.boxes[:, 2:] - track.boxes[:, :2]
        rows, labels = np.nonzero(track.labels)
        for row, label in zip(rows.tolist(), labels.tolist(), strict=True):
            x, y = track.boxes[row, :2].tolist()
            width, height = sizes[row].tolist()
            found.append(
                {
                    "id": first + len(found),
                    "image_id": image + places[row],
                    "video_id": number,
                    "category_id": ids[label],
                    "instance_id": track.actor,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    return found
