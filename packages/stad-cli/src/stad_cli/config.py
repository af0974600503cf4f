"""Recipes: everything that decides a training run, as a TOML file with a strict schema.

A recipe names a model, a dataset and the numbers between them. Unknown keys are refused with the
nearest valid name; every field has a default but the model and the dataset.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError, model_validator

from stad_cli import toml_text
from stad_cli.data_sections import AugmentSection, ClipSection, DataSection
from stad_cli.method_section import MethodSection
from stad_cli.recipe_section import Section
from stad_cli.refusal import nearest, refuse
from stad_cli.training_sections import EvalSection, ModelSection, OptimSection, RunSection
from stad_eval import InputError

__all__ = [
    "FLOW_AHEAD",
    "RECIPES",
    "AugmentSection",
    "ClipSection",
    "DataSection",
    "EvalSection",
    "ModelSection",
    "OptimSection",
    "Recipe",
    "RunSection",
    "load_recipe",
    "nearest",
    "parse_recipe",
    "recipe_names",
    "refuse",
]

RECIPES = Path(__file__).parent / "recipes"

FLOW_AHEAD = 4
"""How many frames after its own a frame's stack of flow reaches (`stacked_flow`)."""


class Recipe(Section):
    """A whole recipe. `name` is the file's name unless it is written in it."""

    name: str = ""
    about: str = ""
    model: ModelSection
    method: MethodSection = MethodSection()
    data: DataSection
    clip: ClipSection
    augment: AugmentSection = AugmentSection()
    optim: OptimSection
    eval: EvalSection = EvalSection()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _augment_fits_size(self) -> "Recipe":
        fixed = self.data.size is not None
        if fixed and self.augment.crop:
            raise ValueError("augment.short_side and augment.crop need data.short_side, not size")
        if not fixed and self.augment.scale != (1.0, 1.0):
            raise ValueError("augment.scale needs data.size; with data.short_side use short_side")
        return self

    @model_validator(mode="after")
    def _flow_has_room(self) -> "Recipe":
        if self.data.flow is None or self.clip.form == "video":
            return self
        if self.clip.tubelet is None:
            raise ValueError('data.flow needs [clip] form = "tubelet" or "video"')
        length, tubelet = self.clip.length, self.clip.tubelet
        if length // 2 - tubelet // 2 + tubelet + FLOW_AHEAD > length:
            raise ValueError(
                f"with data.flow every frame of a tubelet needs the flow of the {FLOW_AHEAD} after "
                f"it: set clip.length to {tubelet + 2 * FLOW_AHEAD}"
            )
        return self

    @model_validator(mode="after")
    def _trimming_fits(self) -> "Recipe":
        if self.eval.trim_penalty is not None and self.clip.form != "tubelet":
            raise ValueError('eval.trim_penalty needs [clip] form = "tubelet"')
        return self

    @model_validator(mode="after")
    def _external_proposals_are_named(self) -> "Recipe":
        for key in ("train_inputs", "test_inputs"):
            if self.model.options.get(key) == "external" and not self.data.proposals:
                raise ValueError(
                    f'model.options.{key} "external" needs data.proposals = "FILE.pkl"'
                )
        return self

    @model_validator(mode="after")
    def _objects_fit(self) -> "Recipe":
        if self.clip.form != "object":
            return self
        if self.augment.mix:
            raise ValueError('augment.mix must be 0 with [clip] form = "object"')
        if self.data.external is not None:
            raise ValueError(
                'data.external goes without [clip] form = "object": its videos have no masks that '
                "say which object is meant"
            )
        if self.method.name != "consistency":
            return self
        consistency = self.method.consistency
        if consistency.approach != "consistency" or consistency.classification:
            raise ValueError(
                'with [clip] form = "object" method.consistency.approach must be "consistency" and '
                "classification 0: objects are not classified"
            )
        if self.method.unlabelled_frames != "all":
            raise ValueError('method.unlabelled_frames must be "all" with [clip] form = "object"')
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> "Recipe":
        if self.method.name == "supervised":
            return self
        keyframes = self.method.name == "pseudo_labels"
        if keyframes and self.clip.form != "keyframe":
            raise ValueError('pseudo labels need [clip] form = "keyframe"')
        if keyframes and self.optim.ema:
            raise ValueError("optim.ema must be 0: the teacher has its own method.momentum")
        if keyframes and (self.data.labelled < 1 or self.data.labelled_list):
            raise ValueError("pseudo labels are for frames between annotated ones: data.labelled 1")
        if not keyframes and self.clip.form not in ("map", "object"):
            raise ValueError('consistency needs [clip] form = "map" or "object"')
        if not (self.method.ratio * self.optim.batch).is_integer():
            raise ValueError("method.ratio times optim.batch must be a whole number of clips")
        strong = self.method.strong
        fixed = self.data.size is not None or self.augment.crop is not None
        if not keyframes and not fixed:
            raise ValueError("consistency needs clips of one size: data.size or augment.crop")
        if (strong.scale != (1.0, 1.0) or strong.stretch) and not fixed:
            raise ValueError(
                "method.strong.scale and stretch need clips of one size: data.size or augment.crop"
            )
        return self

    def to_toml(self) -> str:
        """The recipe with every default written out; `load_recipe` reads it back equal."""
        return toml_text.write(self.model_dump(mode="python", exclude_none=True))


def recipe_names() -> list[str]:
    """Names of the recipes that come with the program."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or from a .toml file, and check it, the model's options included.

    Args:
        source: One of `recipe_names()`, or the path of a file that ends in .toml.
        overrides: "section.key=value" each, the value in TOML (a bare word is a string).

    Raises:
        InputError: Unknown recipe, key, model or option, a value of the wrong kind, or no TOML.
    """
    path = _find(source)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "no such recipe file",
            path=path,
            remedy=f"give a .toml file or a name: {', '.join(recipe_names())}",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("the recipe is no valid TOML", path=path, found=str(error)) from None
    for override in overrides:
        _override(tables, override)
    return parse_recipe({"name": path.stem, **tables}, path=path)


def parse_recipe(tables: Mapping[str, Any], *, path: Path | None = None) -> Recipe:
    """Check the tables of a recipe, from a file or a checkpoint.

    Raises:
        InputError: Unknown key, model or option, or a value of the wrong kind.
    """
    try:
        recipe = Recipe.model_validate(tables)
    except ValidationError as error:
        refuse(error, Recipe, what="recipe", path=path)
    from stad_cli.engine.detector import check_model

    check_model(recipe.model, path=path)
    return recipe


def _find(source: str | Path) -> Path:
    text = str(source)
    if isinstance(source, Path) or text.endswith(".toml") or os.sep in text:
        return Path(source)
    known = RECIPES / f"{text}.toml"
    if not known.is_file():
        raise InputError(f"unknown recipe {text!r}", remedy=nearest(text, recipe_names()))
    return known


def _override(tables: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise InputError(
            f"cannot read the override {text!r}",
            expected="section.key=value",
            remedy="for example --set optim.lr=0.01",
        )
    table: dict[str, Any] = tables
    for part in parts[:-1]:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise InputError(f"cannot set {key.strip()}: {part} is a value, not a table")
        table = cast("dict[str, Any]", inner)
    try:
        table[parts[-1]] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[parts[-1]] = value.strip()
