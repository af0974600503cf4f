"""A picture of one scored keyframe for a report: what is true, what was found, and the motion.

The keyframe with its boxes above, and below it a filmstrip of the clip that the model saw.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stad_cli.drawing import draw_label, line_width
from stad_cli.keyframe_quality import Actors, KeyframeQuality
from stad_data import VideoAnnotation, VideoReader
from stad_data.clips import window
from stad_data.drawing import Color, draw_box

TRUTH: Color = (0, 158, 115)
FOUND: Color = (230, 120, 0)
WIDTH = 480
"""Width of the picture in pixels."""
LETTERS = 17
"""Height of letters: pages show the picture at about half its size."""
STRIP = 5
"""Frames in the filmstrip."""
LEAST = 0.05
"""Actions found with a lower score are not written beside a box."""


def picture(
    annotation: VideoAnnotation,
    scored: KeyframeQuality,
    classes: Sequence[str],
    *,
    length: int,
    stride: int,
) -> NDArray[np.uint8]:
    """The picture, uint8 [H, WIDTH, 3]; green is true, orange was found.

    Args:
        annotation: The video.
        scored: The keyframe, with its true and its found actors in pixels of the annotated frame.
        classes: Names of the actions.
        length: Frames per clip.
        stride: Frames of the video per frame of the clip.

    Raises:
        InputError: The video cannot be read.
    """
    indices = window(scored.frame, length=length, stride=stride, num_frames=annotation.num_frames)
    shown = np.unique(np.linspace(0, length - 1, min(STRIP, length)).round().astype(int))
    with VideoReader(annotation.path, gaps=annotation.gaps) as reader:
        keyframe, *strip = reader.read([scored.frame, *indices[shown].tolist()])
    image = _resized(keyframe, WIDTH)
    scale_4 = np.array([image.shape[1], image.shape[0]] * 2) / np.array(annotation.size * 2)
    size = (image.shape[1], image.shape[0])
    for actors, color in ((scored.truth, TRUTH), (scored.found, FOUND)):
        for box in actors.boxes:
            draw_box(image, box * scale_4, color, line_width(size))
    for actors, color, found in ((scored.truth, TRUTH, False), (scored.found, FOUND, True)):
        for box, text in zip(actors.boxes, texts(actors, classes, scores=found), strict=True):
            draw_label(image, box * scale_4, text, color, height=LETTERS, below=not found)
    gap = 2
    width = (WIDTH - gap * (len(strip) - 1)) // len(strip)
    small = [_resized(frame, width) for frame in strip]
    row = np.full((small[0].shape[0], WIDTH, 3), 255, np.uint8)
    for place, frame in enumerate(small):
        row[:, place * (width + gap) : place * (width + gap) + width] = frame
    return np.concatenate([image, np.full((gap, WIDTH, 3), 255, np.uint8), row])


def texts(actors: Actors, classes: Sequence[str], *, scores: bool) -> list[str]:
    """The two best actions of each actor, one per line."""
    found: list[str] = []
    for row in actors.scores:
        labels = [label for label in np.argsort(-row, kind="stable")[:2].tolist() if row[label] > 0]
        lines: list[str] = [
            str(classes[label]) + (f" {row[label]:.2f}" if scores else "")
            for label in labels
            if row[label] >= LEAST
        ]
        found.append("\n".join(lines) or "person")
    return found


def _resized(image: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(picture)
