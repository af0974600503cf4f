"""Ground truth in ACT's pickle, the form that ACT and MOC publish for their datasets.

``labels``, ``train_videos`` and ``test_videos`` (a list of lists, one per split), ``nframes`` and
``resolution`` (height, width) by video, and ``gttubes[video][label]``: a list of tubes [T, 5] of
``frame, x1, y1, x2, y2``. Frames count from 1, labels from 0. Each tube is an actor of its own; all
frames are annotated. (MultiSports has the same form: `multisports` reads it.)

What the corners of its boxes are, the file does not say; by default they are taken as they are, as
`stad-eval` and `stad data convert --to act` do. ``corners="inclusive"`` takes x2, y2 for the last
pixels (UCF101v2-GT.pkl): ``[x1, y1, x2 + 1, y2 + 1]``. ``corners="one-based"`` also counts all from
1 (JHMDB-GT.pkl): ``[x1 - 1, y1 - 1, x2, y2]``, the boxes that `jhmdb` reads from masks.
"""

from pathlib import Path

from stad_data.annotation import Dataset
from stad_data.datasets.tube_file import read_act_form
from stad_data.datasets.video_files import Missing
from stad_eval import InputError
from stad_eval.class_lists import JHMDB21, UCF24, UCF_SPORTS
from stad_eval.formats.tube_arrays import Corners


def read(
    root: Path | str,
    *,
    split: int = 1,
    missing: Missing = "refuse",
    corners: Corners = "half-open",
) -> Dataset:
    """The dataset with one of its splits.

    Args:
        root: The pickle, or the folder that holds one ``.pkl`` file. Videos are looked for beside
            it and in ``videos``.
        split: Number of the split, from 1.
        missing: What to do about annotated videos without a file. No file is opened.
        corners: What the boxes' corners are, see above.

    Raises:
        InputError: No pickle or several, one of another form, a tube outside its video, a box of
            no area, or absent videos with ``missing="refuse"``.
    """
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
    return read_act_form(
        found[0],
        name=found[0].stem,
        split=split,
        missing=missing,
        places=(base / "videos", base),
        protocols=(
            (f"jhmdb21-split{split}", JHMDB21),
            ("ucf24", UCF24),
            ("ucfsports", UCF_SPORTS),
        ),
        corners=corners,
    )
