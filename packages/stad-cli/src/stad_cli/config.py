"""Recipes: everything that decides a training run, as a TOML file with a strict schema.

A recipe names a model, a dataset and the numbers between them. Unknown keys are refused with the
nearest valid name; every field has a default but the model and the dataset.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, cast, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from stad_cli import toml_text
from stad_cli.dataset_names import DatasetName
from stad_cli.method_section import MethodSection
from stad_cli.recipe_section import Count, Positive, Section, Share, Size
from stad_eval import InputError

RECIPES = Path(__file__).parent / "recipes"


class ModelSection(Section):
    """[model]: which network.

    Attributes:
        name: One of `stad_models.zoo` (`stad models list`).
        batch_norm: Whose statistics BatchNorm takes in training. "local": of each process's own
            batch. "frozen": the running ones, which stay as they are (scale and shift still learn);
            it makes several processes equal to one. "sync": of the batches of all processes, on
            CUDA.
        options: Keyword arguments of the model's builder, and fields of its options
            (`SeStadOptions`: thresholds, loss weights, score rule).
    """

    name: str
    batch_norm: Literal["local", "frozen", "sync"] = "local"
    options: dict[str, Any] = Field(default_factory=dict)


class DataSection(Section):
    """[data]: which videos, at which size.

    Attributes:
        dataset: Layout of the folder given by --data.
        split: Which of the dataset's splits.
        missing: What to do about annotated videos without a file: "refuse" the dataset, or "skip"
            them, in training and evaluation. Damaged files are refused in any case.
        size: (width, height) that every frame is resized to. Either this or `short_side`.
        short_side: Length of the frame's shorter side, the form kept.
        cache: Decode every video once into memory, at `cache_size`: for sets of short videos.
        cache_size: (width, height) in the cache; `size` where it is not given.
        cache_gib: Most memory that the cache may take, in GiB.
        every_nth_frame: Train on every n-th annotated frame.
        dense: Train on all frames, where a synthetic set keeps their truth beside its annotation.
        skip_empty: Leave annotated frames without actors out of training.
        balance: 0 draws samples as they are, 0.5 draws a class by the square root of its
            frequency, 1 draws all classes alike.
        videos: Use only these videos, in training and evaluation.
        proposals: Pickles of proposals in AVA's form, for `model.options` train_inputs or
            test_inputs "external"; one file, or a list of one per part.
    """

    dataset: DatasetName
    split: Positive = 1
    missing: Literal["refuse", "skip"] = "refuse"
    size: Size | None = None
    short_side: Positive | None = None
    cache: bool = False
    cache_size: Size | None = None
    cache_gib: Annotated[float, Field(gt=0)] = 4.0
    every_nth_frame: Positive = 1
    dense: bool = False
    skip_empty: bool = True
    balance: Share = 0.0
    videos: tuple[str, ...] = ()
    proposals: tuple[str, ...] = ()

    @field_validator("proposals", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_size(self) -> "DataSection":
        if (self.size is None) == (self.short_side is None):
            raise ValueError("give one of size = [width, height] and short_side = pixels")
        if self.cache and self.size is None and self.cache_size is None:
            raise ValueError("a cache needs cache_size or size = [width, height]")
        return self


class ClipSection(Section):
    """[clip]: the frames that the model sees at once.

    Attributes:
        form: "keyframe": the frames around one, with its actors. "tubelet": the same, with the
            actors' boxes in the middle frames. "video": a whole video in `length` frames, with all
            of its tubes. "map": frames around a keyframe, with the pixels of the actors in each.
        length: Number of frames.
        stride: Frames of the video from one to the next. A whole video has its own.
        tubelet: Form "tubelet": number of successive frames in the middle that have boxes.
        repeat_keyframe: Repeat the keyframe instead: what a single frame tells.
    """

    form: Literal["keyframe", "tubelet", "video", "map"] = "keyframe"
    length: Positive
    stride: Positive = 1
    tubelet: Positive | None = None
    repeat_keyframe: bool = False

    @model_validator(mode="after")
    def _tubelet(self) -> "ClipSection":
        if (self.form == "tubelet") != (self.tubelet is not None):
            raise ValueError('tubelet = frames goes with form = "tubelet", and only with it')
        if self.tubelet is not None and self.tubelet > self.length:
            raise ValueError(f"a tubelet of {self.tubelet} frames needs a clip of at least as many")
        return self


class AugmentSection(Section):
    """[augment]: random changes of training clips. All off where the table is missing.

    Attributes:
        flip: Probability of mirroring left and right.
        flip_pairs: Pairs of class names that a mirrored clip exchanges ("turn left" and so on).
        scale: With `data.size`: range of zoom factors of a random crop of the same size.
        stretch: Largest relative change of that crop's aspect ratio.
        short_side: With `data.short_side`: range of lengths of the shorter side, before `crop`.
        crop: With `short_side`: side of a random square crop.
        brightness: Largest relative change of brightness.
        contrast: Largest relative change of contrast.
        saturation: Largest relative change of saturation.
        hue: Largest turn of hues, as a part of the circle, up to 0.5.
        stride: Range of strides that a clip's is drawn from, instead of `clip.stride`.
        mix: Probability that another clip shines through, with up to 0.4 of the light and of the
            labels.
    """

    flip: Share = 0.0
    flip_pairs: tuple[tuple[str, str], ...] = ()
    scale: tuple[float, float] = (1.0, 1.0)
    stretch: Share = 0.0
    short_side: tuple[Positive, Positive] | None = None
    crop: Positive | None = None
    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    stride: tuple[Positive, Positive] | None = None
    mix: Share = 0.0

    @model_validator(mode="after")
    def _ranges(self) -> "AugmentSection":
        if self.stride is not None and self.stride[0] > self.stride[1]:
            raise ValueError(f"stride must be [low, high], not {self.stride}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be [low, high] with 0 < low <= high, not {self.scale}")
        if (self.short_side is None) != (self.crop is None):
            raise ValueError("short_side = [low, high] and crop = side go together")
        if self.short_side is not None and self.short_side[0] > self.short_side[1]:
            raise ValueError(f"short_side must be [low, high], not {self.short_side}")
        return self


class OptimSection(Section):
    """[optim]: how weights change.

    Attributes:
        name: Update rule.
        lr: Learning rate after warm-up.
        momentum: Of SGD.
        nesterov: Of SGD.
        betas: Of AdamW.
        weight_decay: L2 penalty (SGD), or decoupled decay (AdamW).
        decay_all: Decay biases and the parameters of normalisation layers too.
        schedule: Cosine to `lr * final`, or steps: times `factor` at each of `milestones`.
        final: Last learning rate of the cosine, as a part of `lr`.
        milestones: Steps at which the learning rate drops.
        factor: By what it drops.
        warm_up: Steps of linear warm-up.
        warm_up_from: Its first learning rate, as a part of `lr`.
        steps: Number of updates.
        batch: Clips per process and backward pass.
        accumulate: Backward passes per update. A step sees batch x accumulate x processes clips.
        clip_grad: Largest norm of the gradient; 0 clips nothing.
        amp: Automatic mixed precision: none, bf16 (CPU, CUDA) or fp16 (CUDA).
        tf32: On CUDA, multiply float32 numbers with the mantissa cut to ten bits.
        ema: Momentum of the averaged weights that are evaluated and kept as best; 0 keeps none.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)]
    momentum: Share = 0.9
    nesterov: bool = False
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    decay_all: bool = False
    schedule: Literal["cosine", "step"] = "cosine"
    final: Share = 0.0
    milestones: tuple[Positive, ...] = ()
    factor: Share = 0.1
    warm_up: Count = 0
    warm_up_from: Share = 0.1
    steps: Positive
    batch: Positive
    accumulate: Positive = 1
    clip_grad: Annotated[float, Field(ge=0)] = 0.0
    amp: Literal["none", "bf16", "fp16"] = "none"
    tf32: bool = True
    ema: Share = 0.0

    @model_validator(mode="after")
    def _milestones(self) -> "OptimSection":
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError('milestones = [...] go with schedule = "step", and only with it')
        return self


class EvalSection(Section):
    """[eval]: what is measured, and when. The end of a run is always evaluated in full.

    Attributes:
        part: Which videos.
        every: Steps between evaluations during training; 0 evaluates only the end.
        every_nth_frame: During training, look at every n-th annotated frame only. The final
            number always counts all of them.
        every_nth_video: During training, look at every n-th video only.
        batch: Clips per forward pass.
        iou: Overlap from which a box counts as found.
        link: Form "keyframe", on densely annotated sets: link the boxes of neighbouring frames to
            tubes, whatever they do. Every box gets the mean action scores of its tube, and tubes
            are scored as well.
        min_tube: Tubes of fewer frames are left out where boxes or tubelets are linked.
        map_threshold: Value of a localisation map from which a pixel belongs to an actor.
    """

    part: Literal["train", "test"] = "test"
    every: Count = 0
    every_nth_frame: Positive = 1
    every_nth_video: Positive = 1
    batch: Positive = 8
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    link: bool = False
    min_tube: Positive = 15
    map_threshold: Share = 0.5


class RunSection(Section):
    """[run]: what changes no result but the seed's.

    Attributes:
        seed: Root of all randomness.
        workers: Processes that load clips; 0 loads in the training process.
        threads: Threads of torch on the CPU (at most as many as there are cores).
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the log.
        channels_last: Keep the channels of weights and maps innermost: faster convolutions where
            the hardware likes it.
        compile: Turn the backbone, or the whole model, into code of its own when it is first
            called (torch.compile); evaluation stays eager where averaged weights are evaluated.
    """

    seed: Count = 0
    workers: Count = 2
    threads: Positive = 2
    checkpoint_every: Positive = 500
    log_every: Positive = 20
    channels_last: bool = False
    compile: Literal["none", "backbone", "model"] = "none"


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
    def _external_proposals_are_named(self) -> "Recipe":
        for key in ("train_inputs", "test_inputs"):
            if self.model.options.get(key) == "external" and not self.data.proposals:
                raise ValueError(
                    f'model.options.{key} "external" needs data.proposals = "FILE.pkl"'
                )
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> "Recipe":
        if self.method.name != "pseudo_labels":
            return self
        if self.clip.form != "keyframe":
            raise ValueError('pseudo labels need [clip] form = "keyframe"')
        if self.optim.ema:
            raise ValueError("optim.ema must be 0: the teacher has its own method.momentum")
        if not (self.method.ratio * self.optim.batch).is_integer():
            raise ValueError("method.ratio times optim.batch must be a whole number of clips")
        strong = self.method.strong
        fixed = self.data.size is not None or self.augment.crop is not None
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


def nearest(word: str, words: Sequence[str]) -> str:
    """What to say about an unknown word: the nearest ones, or all of them."""
    close = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "choose from: " + ", ".join(words)


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


def refuse(
    error: ValidationError, schema: type[BaseModel], *, what: str, path: Path | None
) -> NoReturn:
    """Turn what pydantic complains of into one sentence that names the key.

    Args:
        error: What validation against `schema` raised.
        schema: Of the whole file.
        what: The file's kind: "recipe", "study".
        path: The file, where there is one.

    Raises:
        InputError: Always.
    """
    found = error.errors(include_url=False)
    # A key that is missing is often there under a mistyped name.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    place = [str(part) for part in first["loc"]]
    key = ".".join(place) or f"the {what}"
    if first["type"] == "extra_forbidden":
        raise InputError(
            f"unknown {what} key {key}",
            path=path,
            remedy=nearest(place[-1], _keys(schema, place[:-1])),
        ) from None
    if first["type"] == "missing":
        raise InputError(f"the {what} lacks {key}", path=path, remedy=f"add {key}") from None
    raise InputError(
        f"{key} has a value that cannot be used",
        path=path,
        expected=_expected(first),
        found=repr(first["input"]) if place and not isinstance(first["input"], dict) else None,
    ) from None


def _expected(first: ErrorDetails) -> str:
    return first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")


def _keys(schema: type[BaseModel], place: Sequence[str]) -> list[str]:
    section = schema
    for part in place:
        field = section.model_fields.get(part)  # none: a number of a list
        section = (_section_in(field.annotation) if field else None) or section
    return list(section.model_fields)


def _section_in(annotation: object) -> type[BaseModel] | None:
    """The table that a field takes: itself, one side of "X | None", or the items of a list."""
    for kind in get_args(annotation) or (annotation,):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
