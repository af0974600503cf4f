"""A trained network with all that is needed to run it on a video of any kind."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine import checkpoint
from stad_cli.engine.clip_changes import test_transform
from stad_cli.engine.computation import require_compiler
from stad_cli.engine.detector import build_detector
from stad_cli.engine.distributed import Device, processes
from stad_data import ActionClasses, Clip, Placement, VideoReader
from stad_eval import InputError
from stad_models import compile_for_inference


@dataclass(frozen=True, kw_only=True, eq=False)
class Detector:
    """A trained model with all that is needed to run it on a video.

    Attributes:
        model: In evaluation mode, on its device.
        classes: The actions.
        recipe: What it was trained by: form, length and stride of clips, size of frames.
        trained_fps: Frame rate of the training videos, where it is known.
        device: Where the model runs.
    """

    model: nn.Module
    classes: ActionClasses
    recipe: Recipe
    trained_fps: float | None
    device: torch.device

    @property
    def decoded(self) -> tuple[int, int] | None:
        """(width, height) that frames are decoded at, where training cached them at a size."""
        data = self.recipe.data
        return (data.cache_size or data.size) if data.cache else None


def load_detector(path: Path, device: Device = "auto", *, compiled: bool = False) -> Detector:
    """The detector of a checkpoint.

    Args:
        path: The checkpoint.
        device: Where to compute.
        compiled: Turn its network into code of its own (`stad_models.compile_for_inference`), which
            takes tens of seconds at the first clip.

    Raises:
        InputError: No checkpoint, a damaged one or one of another kind, one that needs the boxes of
            another detector or the masks of objects, a device that is not there, or no compiler.
    """
    state = checkpoint.load(path)
    recipe, classes = checkpoint.recipe_of(state, path=path), checkpoint.classes_of(state)
    if recipe.model.options.get("test_inputs") == "external":
        raise InputError(
            "this model classifies the boxes of another detector, and a plain video has none",
            path=path,
            remedy='train it with model.options.test_inputs = "detected"',
        )
    if recipe.clip.form == "object":
        raise InputError(
            "this model follows objects from their masks, and a plain video has none",
            path=path,
            expected="images and each object's first mask in YouTube-VOS' layout",
            remedy="run it on such a folder: stad eval CHECKPOINT --data FOLDER --masks OUT",
        )
    model = build_detector(recipe.model, recipe.clip, classes)
    checkpoint.fill(model, state["model"], path=path)
    with processes(device) as group:
        place = group.device
    model = model.eval().to(place)
    if compiled:
        require_compiler(place, wish="--compile", remedy="leave it out")
        model = compile_for_inference(model)
    return Detector(
        model=model,
        classes=classes,
        recipe=recipe,
        trained_fps=state.get("fps"),
        device=place,
    )


class FrameResize:
    """Brings single frames to the model's size by the same transform as whole clips.

    Attributes:
        placement: From pixels of the video's frame to those of the model's, once a frame was seen.
    """

    def __init__(self, recipe: Recipe, reader: VideoReader) -> None:
        self._resize = test_transform(recipe)
        (width, height), (full_width, full_height) = reader.size, reader.source_size
        self._decoded = Placement(
            size=reader.source_size, scale_x=width / full_width, scale_y=height / full_height
        )
        # The transforms of a test are not random; their signature asks for a generator.
        self._rng = np.random.default_rng(0)
        self.placement = self._decoded

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A frame uint8 [H, W, 3] at the size of the model."""
        clip = self._resize(bare_clip(image[None], self._decoded), self._rng)
        self.placement = clip.placement
        return clip.frames[0]


def bare_clip(frames: NDArray[np.uint8], placement: Placement) -> Clip:
    """A clip without annotations, which is what the transforms and the collation work on."""
    return Clip(
        frames=frames,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros((0, 0), np.bool_),
        actors=np.zeros(0, np.int64),
        video="",
        frame=0,
        indices=np.arange(len(frames), dtype=np.int64),
        placement=placement,
    )
