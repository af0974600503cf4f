"""The folder of a run: what lies where, and who may write into it."""

from dataclasses import dataclass
from pathlib import Path

from stad_cli.config import Recipe, load_recipe
from stad_cli.engine import checkpoint
from stad_cli.recipe_settings import chosen, differences, settings
from stad_eval import InputError

_PART = "recipe.toml.tmp"


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.toml"

    @property
    def last(self) -> Path:
        """The newest checkpoint: what `--resume` goes on from."""
        return self.path / "checkpoints" / "last.pt"

    @property
    def best(self) -> Path:
        """The weights that scored best."""
        return self.path / "checkpoints" / "best.pt"

    def detections(self, part: str) -> Path:
        """What the network found in a part of the dataset."""
        return self.path / "detections" / f"{part}.json"

    def tubes(self, part: str) -> Path:
        """The action tubes that the network found in a part of the dataset."""
        return self.path / "detections" / f"{part}_tubes.json"

    def masks(self, part: str) -> Path:
        """The masks of the objects that the network followed in a part, VIDEO/FRAME.png."""
        return self.path / "detections" / f"{part}_masks"

    def claim(self, *, resume: bool) -> None:
        """Check before a run begins that it would overwrite nothing.

        Raises:
            InputError: The folder holds something and the run is not resumed, or is no run.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(
                "the run folder is a file", path=self.path, remedy="choose another --out"
            )
        # A run killed in its first moment may leave nothing but its recipe's temporary file.
        if not self.path.is_dir() or {entry.name for entry in self.path.iterdir()} <= {_PART}:
            return
        if not resume:
            raise InputError(
                "there is something in the run folder already",
                path=self.path,
                remedy="go on with it by --resume, or start anew in another folder by --out",
            )
        if not self.recipe.exists():
            raise InputError(
                "this folder is no run: it holds no recipe.toml",
                path=self.path,
                remedy="name a run's folder by --out, or leave --resume away",
            )

    def prepare(self, recipe: Recipe) -> None:
        """Make the folder and write its recipe, or check that a resumed run has the same one.

        Raises:
            InputError: The recipe differs from the one that the run was started with.
            OSError: The folder cannot be written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if self.recipe.exists():
            _require_same(load_recipe(self.recipe), recipe, self.recipe)
        temporary = self.recipe.with_name(_PART)
        temporary.write_text(recipe.to_toml(), encoding="utf-8")
        temporary.replace(self.recipe)
        self.last.parent.mkdir(exist_ok=True)
        checkpoint.remove_leftovers(self.last.parent)


def _require_same(before: Recipe, now: Recipe, path: Path) -> None:
    for key, old, new in differences(settings(before), settings(now), chosen(now)):
        raise InputError(
            f"{key} differs from the run that is to be resumed",
            path=path,
            expected=repr(old),
            found=repr(new),
            remedy="resume with the recipe and the --set it began with, or use another --out",
        )
