"""What the user of `stad detect` chooses, and what is told about a video in the end."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """What the user chooses.

    Attributes:
        every: Frames between keyframes; None for about four a second.
        window: Seconds of video that a detector of tubes sees at a time.
        batch: Clips per pass through the model.
        least: Lowest score of an action that is drawn or counted in the summary.
        on_damage: What to do about a damaged file: refuse it, or stop before the damage.
    """

    every: int | None = None
    window: float = 8.0
    batch: int = 4
    least: float = 0.25
    on_damage: Literal["raise", "stop"] = "raise"


@dataclass(kw_only=True)
class VideoSummary:
    """What was found in one video.

    Attributes:
        video: The file.
        frames: Decoded frames.
        fps: Mean frame rate.
        size: (width, height).
        keyframes: Keyframes, or frames in windows, that were looked at.
        actors: Different actors; of tubes, those of one actor and action each.
        actions: Per action in how many (keyframe, actor) pairs, or tubes, it was seen, most
            frequent first.
        detections: The JSON file.
        overlay: The overlay video; None where none was asked for.
        seconds: Time taken.
    """

    video: Path
    frames: int = 0
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    keyframes: int = 0
    actors: int = 0
    actions: dict[str, int] = field(default_factory=dict[str, int])
    detections: Path
    overlay: Path | None
    seconds: float = 0.0
