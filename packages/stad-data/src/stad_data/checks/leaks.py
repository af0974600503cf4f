"""Leaks between training and test: clips that were cut from one recording."""

import re

from stad_data.annotation import Dataset
from stad_data.checks.problem import Problem, in_video, problems

# What names one recording in the names of its clips.
_RECORDINGS = (
    re.compile(r"(?P<recording>.*v_.+_g\d+)_c\d+"),  # UCF101: v_Basketball_g01_c01
    re.compile(r"(?P<recording>.*v_.{11})_c\d+"),  # MultiSports: v_crsi07chcV8_c004
    re.compile(r"(?P<recording>.{11})_\d{6}_\d{6}"),  # Kinetics: <id>_000010_000020
    # HMDB51 and JHMDB: April_09_brush_hair_u_nm_np1_ba_goo_0
    re.compile(r"(?P<recording>.+?)_[fuhl]_[cn]m_np\d_(?:fr|ba|le|ri)_(?:bad|med|goo)_\d+"),
)


def recording(video: str) -> str | None:
    """The recording that a clip was cut from, if its name tells; UCF101 calls it a group."""
    for pattern in _RECORDINGS:
        found = pattern.fullmatch(video)
        if found is not None:
            return found["recording"]
    return None


def shared_recordings(dataset: Dataset) -> list[Problem]:
    """Test videos of whose recording there are clips among the training videos."""
    trained = {recording(annotation.video): annotation.video for annotation in dataset.train}
    found = [
        in_video(annotation, f"from the recording of training video {trained[name]}")
        for annotation in dataset.test
        if (name := recording(annotation.video)) is not None and name in trained
    ]
    return problems(
        "leaked-recording",
        "error",
        "test videos come from a recording that others are trained on",
        found,
        "keep all clips of a recording in one part, as the published splits do",
    )
