"""The folder of one run of a study, and how far that run got.

It holds `order.json` (what `study.child` is to do), `settings.json` (what decides the result: a run
of other settings is moved aside), `recipe.toml` (resolved), `run/` (as `stad train` leaves it),
`log.txt` (what it printed) and, once it is finished, `outcome.json` (its numbers).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from stad_cli.engine.run_folder import RunFolder
from stad_cli.engine.run_log import read_log
from stad_cli.json_file import write_json
from stad_cli.recipe_settings import differences
from stad_cli.study.study_run import StudyRun
from stad_cli.whole_file import naming, whole_file

TAIL = 15
"""Lines of a failed run's log that are told."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The folder of a run below the study's --out."""

    path: Path
    run: StudyRun

    @property
    def order(self) -> Path:
        """What the process is told."""
        return self.path / "order.json"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.path / "log.txt"

    @property
    def folder(self) -> RunFolder:
        """Its run folder."""
        return RunFolder(self.path / "run")

    @property
    def step(self) -> int:
        """The last step that its log tells of; 0 before the first."""
        entries = read_log(self.folder.path) if self.is_of_these_settings() else []
        return int(entries[-1]["step"]) if entries else 0

    def outcome(self) -> dict[str, Any] | None:
        """The numbers of the finished run; None where it is not finished, or of other settings."""
        return _read(self.path / "outcome.json") if self.is_of_these_settings() else None

    def has_weights(self) -> bool:
        """Whether the run is finished and its last weights are here."""
        return self.outcome() is not None and self.folder.last.exists()

    def is_of_these_settings(self) -> bool:
        """Whether what lies here was begun with the settings of the run."""
        before = _read(self.path / "settings.json")
        return before is not None and not differences(before, self.run.settings, self.run.chosen)

    def prepare(self, order: Mapping[str, Any]) -> Path | None:
        """Make the folder ready for a process to begin or to go on; give where an old one went.

        A folder of other settings is renamed, never deleted.

        Raises:
            OSError: It cannot be written.
        """
        aside = None
        if self.path.exists() and not self.is_of_these_settings():
            aside = _free_name(self.path)
            self.path.rename(aside)
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "settings.json").exists():
            write_json(self.path / "settings.json", self.run.settings)
        recipe = self.path / "recipe.toml"
        with whole_file(recipe, "text") as file, naming(recipe):
            file.write(self.run.recipe.to_toml())
        write_json(self.order, {"recipe": str(recipe), **order})
        return aside

    def tail(self) -> str:
        """The end of its log."""
        if not self.log.is_file():
            return ""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-TAIL:])


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none, or half of one."""
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else None


def _free_name(path: Path) -> Path:
    number = 1
    while (found := path.with_name(f"{path.name}.stale-{number}")).exists():
        number += 1
    return found
