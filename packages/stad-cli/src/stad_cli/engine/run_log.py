"""A run's log: one JSON object per line, and the same numbers as TensorBoard events.

Lines are {"step", "loss": {name: mean since the line before}, "lr", "clips_per_s", "wait", ...} and
{"step", "eval": {...}}; "wait" is the share of the time since the line before that the loop waited
for its data. Floats are written so that they read back equal.
"""

import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Appends to `log.jsonl` and to `tensorboard/` in a run folder.

    Args:
        folder: The run folder.
        step: The step that the run continues from. What an earlier process logged beyond it (it
            died before its next checkpoint) is dropped, a half-written last line and a final
            evaluation too: the resumed run will write them again.

    Raises:
        OSError: The log cannot be written.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        path = folder / "log.jsonl"
        _keep_until(path, step)
        self._file = path.open("a", encoding="utf-8")
        self._events = _writer(folder / "tensorboard", step)

    def write(self, step: int, entry: Mapping[str, Any]) -> None:
        """Add one line; its numbers, of nested tables too, become TensorBoard scalars."""
        self._file.write(json.dumps({"step": step, **_plain(entry)}) + "\n")
        self._file.flush()
        for name, value in _scalars(entry).items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is buffered and close both."""
        self._file.close()
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The entries of a run's log in order, without a half-written last line; none without a log."""
    path = folder / "log.jsonl"
    if not path.is_file():
        return []
    entries: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the process died while it wrote this line: the last one
    return entries


def _keep_until(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [
        entry for entry in read_log(path.parent) if entry["step"] <= step and not entry.get("final")
    ]
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in kept)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _writer(folder: Path, step: int) -> "SummaryWriter":
    with warnings.catch_warnings():
        # TensorBoard's own imports warn about things that its next release will change.
        warnings.simplefilter("ignore")
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier process wrote at `step` + 1 and later is hidden by TensorBoard.
        return SummaryWriter(str(folder), purge_step=step + 1)


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON is what it is
    """Not-a-number and infinity as null: JSON has neither."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _scalars(entry: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in entry.items():
        if isinstance(value, Mapping):
            found |= _scalars(value, f"{prefix}{key}/")
        elif (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ):
            found[prefix + key] = float(value)
    return found
