"""Files of tubes of any form that this package reads, told apart by name and content."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stad_eval.formats import safe_pickle
from stad_eval.formats.act_pickle import act_truth
from stad_eval.formats.multisports import multisports_tubes
from stad_eval.formats.pyannot import pyannot_truth
from stad_eval.formats.retinanet import retinanet_tubes
from stad_eval.formats.tube_arrays import Corners
from stad_eval.formats.tubes_json import read_tubes_json
from stad_eval.formats.tubes_npz import read_tubes_npz
from stad_eval.input_error import InputError
from stad_eval.tube_tables import TubeFile, Tubes


def read_tube_truth(
    path: str | Path,
    *,
    split: int = 1,
    part: Literal["test", "train"] = "test",
    corners: Corners = "half-open",
) -> TubeFile:
    """Ground truth: our JSON or npz by its name, else a pickle of ACT, MOC, MultiSports, `pyannot`.

    `split` and `part` are for pickles of the first three, whose files hold all of them. `corners`
    are those of their boxes (`tube_arrays.Corners`). `pyannot`, whose numbers count from 1, gives
    the corners of ACT's pickle of the same tubes, or with "one-based" the pixels that its boxes
    cover, see `read_pyannot`.

    Raises:
        InputError: naming file and place, if it has none of these forms.
    """
    if Path(path).suffix == ".json":
        return read_tubes_json(path)
    if Path(path).suffix == ".npz":
        return read_tubes_npz(path)
    content = safe_pickle.load(path)
    if isinstance(content, dict) and "gttubes" in content:
        return act_truth(content, path, split=split, part=part, corners=corners)
    records = content.get("db", content) if isinstance(content, dict) else None
    if isinstance(records, dict) and any(
        isinstance(record, dict) and "annotations" in record for record in records.values()
    ):
        return pyannot_truth(content, path, corners="pixels" if corners == "one-based" else "act")
    raise InputError(
        "not ground truth of tubes",
        path=path,
        expected="a dict with 'gttubes' (ACT, MOC, MultiSports), or videos with 'annotations'",
        found=_outline(content),
    )


def read_tubes(path: str | Path, *, videos: Sequence[str], classes: Sequence[str]) -> Tubes:
    """Detected tubes: our JSON or npz by its name, else a pickle of MultiSports or 3D-RetinaNet.

    `videos` and `classes` are those of the ground truth, which the pickles point into; our files
    name theirs.

    Raises:
        InputError: naming file and place, if it has none of these forms.
    """
    if Path(path).suffix == ".json":
        return read_tubes_json(path).tubes
    if Path(path).suffix == ".npz":
        return read_tubes_npz(path).tubes
    content = safe_pickle.load(path)
    if isinstance(content, dict) and "action" in content:
        return retinanet_tubes(content, path, videos=videos, classes=classes)
    if isinstance(content, dict) and "gttubes" not in content:
        return multisports_tubes(content, path, videos=videos, classes=classes)
    raise InputError(
        "not detected tubes",
        path=path,
        expected="a dict: class -> list of (video, score, rows), or one with 'action'",
        found=_outline(content),
    )


def _outline(content: object) -> str:
    if isinstance(content, dict):
        return f"a dict with the keys {', '.join(str(key)[:40] for key in list(content)[:6])}"
    return f"a {type(content).__name__}"
