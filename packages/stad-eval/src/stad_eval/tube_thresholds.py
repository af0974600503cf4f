"""Names of IoU thresholds and of ranges of them."""

import math
import re
from collections.abc import Sequence

from stad_eval.input_error import InputError

Threshold = float | str
IOU: tuple[Threshold, ...] = (0.2, 0.5, 0.75, "0.5:0.95")

_RANGE = re.compile(r"(\d*\.?\d+):(\d*\.?\d+)(?::(\d*\.?\d+))?")


def threshold_ranges(iou: Sequence[Threshold]) -> dict[str, tuple[float, ...]]:
    """The thresholds behind each name: one for a number, several for "low:high[:step]".

    Raises:
        InputError: on what is neither, or thresholds outside (0, 1].
    """
    result: dict[str, tuple[float, ...]] = {}
    for each in iou:
        found = _RANGE.fullmatch(each) if isinstance(each, str) else None
        if found is not None:
            low, high, step = float(found[1]), float(found[2]), float(found[3] or 0.05)
            count = math.floor((high - low) / step + 1e-9) + 1 if step > 0 else 0
            values = tuple(round(low + step * at, 10) for at in range(count))
        else:
            values = () if isinstance(each, str) else (float(each),)
        if not values or not all(0.0 < value <= 1.0 for value in values):
            expected = "0 < iou <= 1, or a range such as '0.5:0.95'"
            raise InputError("bad IoU threshold", expected=expected, found=each)
        result[each if isinstance(each, str) else threshold_name(each)] = values
    if not result:
        raise InputError("no IoU threshold", expected="at least one", found="none")
    return result


def threshold_name(threshold: float) -> str:
    """The name of a single threshold in results, such as "0.5"."""
    return f"{threshold:g}"
