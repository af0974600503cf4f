"""What is exported: the network of a checkpoint, or a named model with fresh weights."""

from pathlib import Path

import torch

from stad_cli.config import ClipSection, ModelSection, Recipe, nearest
from stad_cli.engine import checkpoint
from stad_cli.engine.detector import build_detector, detector_names
from stad_cli.export.exporting import Source
from stad_cli.scoring import checkpoint_path
from stad_data import ActionClasses
from stad_eval import InputError


def open_source(given: str, *, size: tuple[int, int] | None, classes: int) -> Source:
    """A checkpoint, the best one of a run folder, or a model by its name.

    Args:
        given: A path or a name.
        size: (width, height) of clips; None for the recipe's of a checkpoint.
        classes: Actions of a model by name.

    Raises:
        InputError: Neither a path nor a name, a damaged checkpoint, or no size.
    """
    if Path(given).exists() or given.endswith(".pt"):
        model, actions, recipe = checkpoint.build_model(checkpoint_path(Path(given)))
        return Source(
            model=model,
            section=recipe.model,
            clip=recipe.clip,
            classes=actions,
            size=size or _recipe_size(recipe),
        )
    known = detector_names()
    if given not in known:
        raise InputError(
            f"there is no file and no model {given!r}",
            remedy=f"name a checkpoint (.pt), a run folder or a model; {nearest(given, known)}",
        )
    if size is None:
        raise InputError(
            "a model by its name has no size of clips", remedy="give one, such as --size 256 256"
        )
    return _named(given, size, classes)


def _named(name: str, size: tuple[int, int], classes: int) -> Source:
    from stad_models import zoo

    with torch.device("meta"):
        usual = getattr(zoo, name)(num_classes=classes)
    actions = ActionClasses(
        names=tuple(f"action {number}" for number in range(1, classes + 1)),
        ids=tuple(range(1, classes + 1)),
        exclusive=bool(usual.exclusive),
    )
    section = ModelSection(name=name)
    clip = ClipSection(length=usual.clip_length, stride=usual.clip_stride)
    return Source(
        model=build_detector(section, clip, actions),
        section=section,
        clip=clip,
        classes=actions,
        size=size,
    )


def _recipe_size(recipe: Recipe) -> tuple[int, int]:
    if recipe.data.size is not None:
        return recipe.data.size
    raise InputError(
        "the recipe keeps the form of every video, and a graph needs one size",
        found=f"data.short_side = {recipe.data.short_side}",
        remedy="give one, such as --size 340 256",
    )
