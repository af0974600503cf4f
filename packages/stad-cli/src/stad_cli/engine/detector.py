"""From the [model] section of a recipe to a network, with its options checked by name and type."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from torch import nn

from stad_cli.config import ClipSection, ModelSection, Recipe, nearest
from stad_data import ActionClasses
from stad_eval import InputError
from stad_models import zoo
from stad_models.detectors.object_segmentation import CHANNELS as OBJECT_CHANNELS
from stad_models.zoo.tubelets import FLOW_CHANNELS

FUSED_CHANNELS = 5
"""Colours and the two displacements of flow in one input."""
STACKED_CHANNELS = 3 + FLOW_CHANNELS
"""Colours, and the images of flow that a second stream takes."""

# What the dataset and the [clip] section decide, not [model.options].
_ELSEWHERE = (
    "num_classes",
    "exclusive",
    "clip_length",
    "clip_stride",
    "tubelet_length",
    "options",
)


def detector_names() -> list[str]:
    """Names of the zoo's builders that make a detector (they take `num_classes`)."""
    return [
        name
        for name in zoo.__all__
        if "num_classes" in inspect.signature(_builder(name)).parameters
    ]


def build_detector(section: ModelSection, clip: ClipSection, classes: ActionClasses) -> nn.Module:
    """A network with fresh weights for these classes; a builder that asks is told the clip's form.

    Raises:
        InputError: Unknown model or option, or an option of the wrong kind.
    """
    arguments = _arguments(section, path=None)
    builder = _builder(section.name)
    asked = inspect.signature(builder).parameters
    if "clip_length" in asked:
        arguments["clip_length"] = clip.length
    if "clip_stride" in asked:
        arguments["clip_stride"] = clip.stride
    if "tubelet_length" in asked and clip.tubelet is not None:
        arguments["tubelet_length"] = clip.tubelet
    try:
        return builder(num_classes=len(classes), exclusive=classes.exclusive, **arguments)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the options of {section.name} do not fit together",
            found=str(error),
            remedy="see [model.options] in the recipe",
        ) from error


def channels_of(model: nn.Module) -> int:
    """Input channels of a network: 3 of colour, or more where it takes flow with them."""
    return getattr(model, "channels_in", 3)


def check_channels(model: nn.Module, recipe: Recipe) -> None:
    """Check that a network takes what the recipe's clips hold: colours, or flow or a mask as well.

    Raises:
        InputError: It does not.
    """
    takes = channels_of(model)
    follows = takes == OBJECT_CHANNELS
    if follows != (recipe.clip.form == "object"):
        raise InputError(
            'only clips of form "object" hold the mask of an object that is to be followed',
            expected='[clip] form = "object" with model.name "vos_tiny" or "vos_i3d", or neither',
            found=f'form = "{recipe.clip.form}" with {recipe.model.name}',
        )
    if follows:
        return
    if recipe.data.flow is not None and takes not in (FUSED_CHANNELS, STACKED_CHANNELS):
        raise InputError(
            f"{recipe.model.name} takes no optical flow",
            expected=f"a model of {FUSED_CHANNELS} or {STACKED_CHANNELS} input channels",
            found=f"data.flow = {recipe.data.flow!r} and {takes} channels",
            remedy="leave data.flow out, or take a model of two streams, or one whose trunk has "
            f"channels_in = {FUSED_CHANNELS}",
        )
    if recipe.data.flow is None and takes != 3:
        raise InputError(
            f"{recipe.model.name} needs optical flow",
            remedy="compute it by `stad data flow`, and name its folder: --set data.flow=FOLDER",
        )


def check_model(section: ModelSection, *, path: Path | None) -> None:
    """Check the model's name and options without building it.

    Raises:
        InputError: Unknown model or option, or an option of the wrong kind.
    """
    _arguments(section, path=path)


def _builder(name: str) -> Callable[..., nn.Module]:
    return getattr(zoo, name)


def _arguments(section: ModelSection, *, path: Path | None) -> dict[str, Any]:
    """Keyword arguments for the builder: its own, and its options dataclass filled in.

    A builder's argument that is a dataclass itself (a trunk's shape) is given as a table of the
    fields that differ from its default.
    """
    known = detector_names()
    if section.name not in known:
        raise InputError(
            f"unknown model {section.name!r}", path=path, remedy=nearest(section.name, known)
        )
    builder = _builder(section.name)
    hints = get_type_hints(builder)
    parameters = inspect.signature(builder).parameters
    own = [name for name in parameters if name not in _ELSEWHERE]
    options_type = _dataclass_in(hints.get("options"))
    options = get_type_hints(options_type) if options_type else {}
    arguments: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    for key, value in section.options.items():
        if key in own:
            default = parameters[key].default
            arguments[key] = _argument(hints[key], default, key, value, path)
        elif key in options:
            chosen[key] = _typed(options[key], key, value, path)
        else:
            raise InputError(
                f"unknown option {key} of {section.name}",
                path=path,
                remedy=nearest(key, [*own, *options]),
            )
    if options_type is not None:
        arguments["options"] = _filled(options_type, chosen, "options", path)
    return arguments


def _argument(hint: Any, default: Any, key: str, value: object, path: Path | None) -> Any:  # noqa: ANN401
    kind = _dataclass_in(hint)
    if kind is None:
        return _typed(hint, key, value, path)
    if not isinstance(value, dict):
        raise InputError(
            f"model.options.{key} is no table",
            path=path,
            expected=f"[model.options.{key}] with fields of {kind.__name__}",
            found=repr(value),
        )
    table, hints = cast("dict[str, Any]", value), get_type_hints(kind)
    before = {name: getattr(default, name) for name in hints} if isinstance(default, kind) else {}
    for name in table:
        if name not in hints:
            raise InputError(
                f"unknown option {key}.{name}", path=path, remedy=nearest(name, list(hints))
            )
    given = {name: _typed(hints[name], f"{key}.{name}", table[name], path) for name in table}
    return _filled(kind, {**before, **given}, key, path)


def _dataclass_in(hint: object) -> type | None:
    """The dataclass that a parameter takes: the hint itself, or one side of "X | None"."""
    for kind in get_args(hint) or (hint,):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return kind
    return None


def _filled(kind: type, values: Mapping[str, Any], key: str, path: Path | None) -> object:
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        place = "model.options" if key == "options" else f"model.options.{key}"
        raise InputError(f"{place} cannot be used", path=path, found=str(error)) from None


def _typed(hint: Any, key: str, value: object, path: Path | None) -> Any:  # noqa: ANN401
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(
            f"model.options.{key} has a value that cannot be used",
            path=path,
            expected=first["msg"].removeprefix("Input should be "),
            found=repr(value),
        ) from None
