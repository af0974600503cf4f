"""Datasets from one file format to another: `convert` writes, the readers of `datasets` read.

What a target cannot hold is not dropped in silence: every writer returns it in words.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from stad_data.annotation import Dataset
from stad_data.conversion import act_pickle, ava_files, boxes_csv, coco_json, stad_json
from stad_eval import InputError
from stad_eval.formats.tube_arrays import Corners

Target = Literal["ava", "act", "coco-video", "json", "boxes"]
TARGETS: tuple[str, ...] = get_args(Target)


def convert(
    dataset: Dataset,
    out: Path | str,
    *,
    to: Target,
    part: Literal["all", "train", "test"] = "all",
    corners: Corners = "half-open",
) -> list[str]:
    """Write a dataset in another form; what was not read or that form cannot hold, one line each.

    Args:
        dataset: What to write, from any reader. Videos are not opened.
        out: The file to write; for "ava" a folder.
        to: "ava" (its CSV files and label map), "act" (its pickle), "coco-video" (JSON by image),
            "json" (the project's own), or "boxes" (one CSV row per box and label).
        part: Which videos to write.
        corners: What the corners of boxes shall be in ACT's pickle; other forms say it themselves.

    Raises:
        InputError: An unknown target or part, or a folder that does not exist.
        OSError: The file cannot be written.
    """
    writers = {
        "ava": ava_files.write,
        "act": partial(act_pickle.write, corners=corners),
        "coco-video": coco_json.write,
        "json": stad_json.write,
        "boxes": boxes_csv.write,
    }
    if to not in writers:
        raise InputError("unknown target", expected=", ".join(TARGETS), found=str(to))
    if part not in ("all", "train", "test"):
        raise InputError("unknown part", expected="all, train or test", found=str(part))
    if part != "all":
        keep = {"train": dataset.train, "test": dataset.test}
        dataset = replace(dataset, **{other: () for other in keep if other != part})
    return [*dataset.left_out, *writers[to](dataset, Path(out))]
