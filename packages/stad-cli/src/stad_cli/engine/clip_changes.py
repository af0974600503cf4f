"""How a recipe changes clips: at random for training, to the model's size for a test."""

from stad_cli.config import DataSection, Recipe, nearest
from stad_cli.data_sections import AugmentSection
from stad_cli.method_section import StrongSection
from stad_data import Dataset, transforms
from stad_data.loading import Transform
from stad_eval import InputError


def training_transform(recipe: Recipe, dataset: Dataset) -> Transform:
    """The recipe's random changes of a training clip, its size included.

    Raises:
        InputError: A class of `augment.flip_pairs` that the dataset does not know.
    """
    augment, data = recipe.augment, recipe.data
    steps: list[Transform] = [transforms.RepeatKeyframe()] if recipe.clip.repeat_keyframe else []
    if data.size is not None:
        if not _keeps_aspect(data):
            steps.append(transforms.FixedResize(*data.size))
        if augment.scale != (1.0, 1.0) or augment.stretch or _keeps_aspect(data):
            steps.append(
                transforms.RandomScaledCrop(data.size, augment.scale, stretch=augment.stretch)
            )
    elif augment.short_side is not None and augment.crop is not None:
        # The crop's scale counts from the shorter side that just covers it.
        low, high = (side / augment.crop for side in augment.short_side)
        crop = (augment.crop, augment.crop)
        steps.append(transforms.RandomScaledCrop(crop, (low, high), stretch=augment.stretch))
    elif data.short_side is not None:
        steps.append(transforms.ShortSideResize(data.short_side))
    if augment.flip:
        steps.append(transforms.RandomFlip(augment.flip, label_pairs=_pairs(recipe, dataset)))
    steps.extend(color_jitter(augment))
    return transforms.Compose(steps)


def color_jitter(changes: AugmentSection | StrongSection) -> list[Transform]:
    """The change of colours that a section asks for, if it asks for one."""
    if not (changes.brightness or changes.contrast or changes.saturation or changes.hue):
        return []
    return [
        transforms.ColorJitter(
            brightness=changes.brightness,
            contrast=changes.contrast,
            saturation=changes.saturation,
            hue=changes.hue,
        )
    ]


def test_transform(recipe: Recipe) -> Transform:
    """How a clip is brought to the model's size for a test; nothing random."""
    data = recipe.data
    steps: list[Transform] = [transforms.RepeatKeyframe()] if recipe.clip.repeat_keyframe else []
    if data.size is not None:
        steps.append(transforms.FixedResize(*data.size))
    elif data.short_side is not None:
        steps.append(transforms.ShortSideResize(data.short_side))
    return transforms.Compose(steps)


def _keeps_aspect(data: DataSection) -> bool:
    """Whether frames come from a cache of the same shape: one resize does, and is sharper."""
    if not data.cache or data.size is None or data.cache_size is None:
        return False
    return data.cache_size[0] * data.size[1] == data.cache_size[1] * data.size[0]


def _pairs(recipe: Recipe, dataset: Dataset) -> tuple[tuple[int, int], ...]:
    names = dataset.classes.names
    for name in (name for pair in recipe.augment.flip_pairs for name in pair):
        if name not in names:
            raise InputError(f"augment.flip_pairs: no class {name!r}", remedy=nearest(name, names))
    return tuple((names.index(a), names.index(b)) for a, b in recipe.augment.flip_pairs)
