"""Ground truth in ACT's pickle, the form that ACT and MOC publish for their datasets.

``labels``, ``train_videos`` and ``test_videos`` (a list of lists, one per split), ``nframes`` and
``resolution`` (height, width) by video, and ``gttubes[video][label]``: a list of tubes [T, 5] of
``frame, x1, y1, x2, y2``. Frames count from 1, labels from 0. Each tube is an actor of its own; all
frames are annotated. (MultiSports has the same form: `multisports` reads it.)

Boxes name their first and last pixel. The published pickle of JHMDB counts them from 1, and so does
`stad data convert --to act`: here such a box is ``[x1 - 1, y1 - 1, x2, y2]``. Other pickles count
from 0 (``corners="zero-based"``): ``[x1, y1, x2 + 1, y2 + 1]``. The file does not say which.
"""

from pathlib import Path
from typing import Literal

from stad_data.annotation import Dataset
from stad_data.datasets.multisports import read_tubes
from stad_data.datasets.video_files import Missing
from stad_eval import InputError
from stad_eval.class_lists import JHMDB21, UCF24, UCF_SPORTS

_SHIFTS = {"one-based": (-1, -1, 0, 0), "zero-based": (0, 0, 1, 1)}


def read(
    root: Path | str,
    *,
    split: int = 1,
    missing: Missing = "refuse",
    corners: Literal["one-based", "zero-based"] = "one-based",
) -> Dataset:
    """The dataset with one of its splits.

    Args:
        root: The pickle, or the folder that holds one ``.pkl`` file. Videos are looked for beside
            it and in ``videos``.
        split: Number of the split, from 1.
        missing: What to do about annotated videos without a file. No file is opened.
        corners: Where the boxes' pixels count from.

    Raises:
        InputError: No pickle or several, one of another form, a tube outside its video, a box of
            no area, or absent videos with ``missing="refuse"``.
    """
    if corners not in _SHIFTS:
        raise InputError("unknown corners", expected=" or ".join(_SHIFTS), found=str(corners))
    root = Path(root)
    found = sorted(root.glob("*.pkl")) if root.is_dir() else [root]
    if len(found) != 1:
        raise InputError(
            "no pickle" if not found else "more than one pickle",
            path=root,
            expected="one .pkl file",
            found=", ".join(path.name for path in found) or "none",
            remedy="name the file itself",
        )
    base = found[0].parent
    return read_tubes(
        found[0],
        name=found[0].stem,
        split=split,
        missing=missing,
        places=(base / "videos", base),
        shift=_SHIFTS[corners],
        fps=None,
        protocols=(
            (f"jhmdb21-split{split}", JHMDB21),
            ("ucf24", UCF24),
            ("ucfsports", UCF_SPORTS),
        ),
    )
