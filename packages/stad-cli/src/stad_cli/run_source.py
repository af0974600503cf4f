"""Where a run's data lay: a run folder remembers it, so that later commands need not be told."""

import json
from pathlib import Path

from stad_cli.whole_file import naming, whole_file
from stad_eval import InputError

_FILE = "data.json"


def remember_data(run: Path, data: Path) -> None:
    """Write the dataset's folder into a run folder.

    Raises:
        OSError: It cannot be written.
    """
    path = run / _FILE
    with whole_file(path, "text") as file, naming(path):
        file.write(json.dumps({"data": str(data.resolve())}) + "\n")


def recall_data(run: Path, given: Path | None) -> Path:
    """The dataset's folder: the one that the user gave, or the one that the run remembers.

    Raises:
        InputError: None was given, and the run remembers none or one that is gone.
    """
    if given is not None:
        return given
    remedy = "name the dataset's folder by --data"
    try:
        found = Path(json.loads((run / _FILE).read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            "this run does not say where its data is", path=run, remedy=remedy
        ) from None
    if not found.is_dir():
        raise InputError(
            "the data of this run is not where it was",
            path=run / _FILE,
            expected="an existing folder",
            found=str(found),
            remedy=remedy,
        )
    return found
