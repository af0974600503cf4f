"""Time: tracks that never begin at frame 0, seconds that do not go with their frames."""

from collections.abc import Sequence

import numpy as np

from stad_data.annotation import VideoAnnotation
from stad_data.checks.problem import Example, Problem, in_video, problems

_ENOUGH = 3
_SHARE = 0.5
_SECOND = 1.0


def starts_at_one(annotations: Sequence[VideoAnnotation]) -> list[Problem]:
    """Most tracks begin in frame 1 and none in frame 0, where all frames are annotated."""
    dense = [a for a in annotations if len(a.keyframes) == a.num_frames and a.num_frames > 1]
    starts = [int(track.frames[0]) for a in dense for track in a.tracks]
    ones = starts.count(1)
    if starts.count(0) or ones < _ENOUGH or ones < _SHARE * len(starts):
        return []
    found = [
        in_video(a, f"frames 1 to {track.frames[-1]} of {a.num_frames}", f"actor {track.actor}")
        for a in dense
        for track in a.tracks[:1]
        if track.frames[0] == 1
    ]
    return problems(
        "starts-at-one",
        "warning",
        f"of {len(starts):,} tracks begin in frame 1, and none in frame 0",
        found,
        "frames count from 0; if the file counts from 1, subtract one from all of them",
        count=ones,
    )


def off_times(annotations: Sequence[VideoAnnotation]) -> list[Problem]:
    """Keyframes whose seconds run away from their frames."""
    found: list[Example] = []
    for annotation in annotations:
        seconds, fps = annotation.timestamps, annotation.fps
        if seconds is None or fps is None or not len(seconds):
            continue
        shift = seconds - annotation.keyframes / fps
        off = np.abs(shift - np.median(shift))
        if off.max() > _SECOND:
            at = int(np.argmax(off))
            note = (
                f"second {seconds[at]} is {off[at]:.1f} s away from where the other keyframes"
                f" put it at {fps:g} frames per second"
            )
            found.append(in_video(annotation, note, f"frame {annotation.keyframes[at]}"))
    return problems(
        "seconds-off",
        "warning",
        "videos have keyframes whose seconds do not go with their frames",
        found,
        "check the frame rate and the seconds; is the file another cut of the video?",
    )
