"""[data], [clip] and [augment] of a recipe: which clips a model sees."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from stad_cli.dataset_names import DatasetName
from stad_cli.recipe_section import Count, Positive, Section, Share, Size


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
        index: File that keeps the annotation of AVA, mapped into memory by all processes; made
            where it is not there or no longer fits.
        shards: Folder that `stad data shard` filled: frames come from there, and videos in it
            need no file.
        flow: Folder that `stad data flow` filled: optical flow joins the frames, for models of two
            streams, or of five input channels (early fusion).
        every_nth_frame: Train on every n-th annotated frame.
        dense: Train on all frames, where a synthetic set keeps their truth beside its annotation.
        skip_empty: Leave annotated frames without actors out of training.
        empty: Share of the samples drawn in training that have no actor, below 1; as many as there
            are where it is not given. Needs `skip_empty` false.
        balance: 0 draws samples as they are, 0.5 draws a class by the square root of its
            frequency, 1 draws all classes alike.
        videos: Use only these videos, in training and evaluation.
        labelled: Share of the training videos that is labelled, the classes in their proportion;
            training without labels may use the others. Shares of one seed are nested.
        labelled_seed: Draws which videos those are.
        labelled_list: A file of `stad_data.splits` that says so instead.
        unlabelled: Use at most this share of the training videos without labels; all others where
            it is not given.
        external: A folder of further videos to be used without labels.
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
    index: str | None = None
    shards: str | None = None
    flow: str | None = None
    every_nth_frame: Positive = 1
    dense: bool = False
    skip_empty: bool = True
    empty: Annotated[float, Field(ge=0, lt=1)] | None = None
    balance: Share = 0.0
    videos: tuple[str, ...] = ()
    labelled: Annotated[float, Field(gt=0, le=1)] = 1.0
    labelled_seed: Count = 0
    labelled_list: str | None = None
    unlabelled: Share | None = None
    external: str | None = None
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
        if self.cache and self.shards:
            raise ValueError("frames come from the cache or from shards: give one of the two")
        if self.empty is not None and self.skip_empty:
            raise ValueError("empty is a share of samples that skip_empty leaves out: set it false")
        if self.index and self.dataset not in ("ava", "synthetic"):
            raise ValueError('index is for dataset = "ava" (or "synthetic") alone')
        return self


class ClipSection(Section):
    """[clip]: the frames that the model sees at once.

    Attributes:
        form: "keyframe": the frames around one, with its actors. "tubelet": the same, with the
            actors' boxes in the middle frames. "video": a whole video in `length` frames, with all
            of its tubes. "map": frames around a keyframe, with the pixels of the actors in each.
            "object": frames after one on which an object's mask is given, with its pixels in each;
            the dataset needs masks, or boxes that stand for them.
        length: Number of frames; of form "object" without the given one.
        stride: Frames of the video from one to the next. A whole video has its own.
        tubelet: Form "tubelet": number of successive frames in the middle that have boxes.
        repeat_keyframe: Repeat the keyframe instead: what a single frame tells.
    """

    form: Literal["keyframe", "tubelet", "video", "map", "object"] = "keyframe"
    length: Positive
    stride: Positive = 1
    tubelet: Positive | None = None
    repeat_keyframe: bool = False

    @model_validator(mode="after")
    def _tubelet(self) -> "ClipSection":
        if (self.form == "tubelet") != (self.tubelet is not None):
            raise ValueError('tubelet = frames goes with form = "tubelet", and only with it')
        if self.form == "object" and self.repeat_keyframe:
            raise ValueError('repeat_keyframe must be false with form = "object"')
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
