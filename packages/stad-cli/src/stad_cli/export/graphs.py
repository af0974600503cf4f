"""Where a detector is cut into graphs, and how graphs take the place of its networks again."""

from collections.abc import Mapping
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from stad_cli.export.graph import Graph, Method, Run, answer_by
from stad_cli.export.se_stad_graphs import cut_se_stad, join_se_stad
from stad_cli.export.tubelet_graphs import (
    cut_moc,
    cut_stma,
    cut_two_streams,
    join_moc,
    join_stma,
    join_two_streams,
)
from stad_eval import InputError
from stad_models.detectors.moc import Moc
from stad_models.detectors.se_stad import SeStad
from stad_models.detectors.stma import Stma
from stad_models.detectors.two_stream_moc import TwoStreamMoc
from stad_models.structures import Prediction


class RawDetector(Protocol):
    """What any detector has to offer to be exported, unless this file knows it already.

    In evaluation its `forward` must be `finish(raw(clips), (width, height))`.
    """

    def raw(self, clips: Tensor) -> Mapping[str, Tensor]:
        """Everything that needs weights, from clips `[N, 3, T, H, W]`; maps of N rows each."""
        ...

    def finish(self, raw: Mapping[str, Tensor], size: tuple[int, int]) -> list[Prediction]:
        """Predictions from what `raw` gave, of clips of (width, height); uses no weight."""
        ...


def cut(model: nn.Module, clips: Tensor) -> list[Graph]:
    """The graphs of a detector in evaluation mode, with example inputs made from clips.

    Args:
        model: The detector.
        clips: `[N, C, T, H, W]`, N at least 2; T, H and W are fixed in the graphs.

    Raises:
        InputError: The detector does not say where it can be cut.
    """
    if isinstance(model, SeStad):
        return cut_se_stad(model, clips)
    if isinstance(model, Moc):
        return [cut_moc(model, clips)]
    if isinstance(model, TwoStreamMoc):
        return cut_two_streams(model, clips)
    if isinstance(model, Stma):
        return cut_stma(model, clips)
    if hasattr(model, "raw") and hasattr(model, "finish"):
        return [_cut_raw(model, clips)]
    raise InputError(
        f"{type(model).__name__} cannot be exported",
        expected="SE-STAD, MOC, STMA, or a detector with the methods raw and finish",
        remedy="see RawDetector in stad_cli/export/graphs.py",
    )


def join(model: nn.Module, runs: Mapping[str, Run], shape: tuple[int, int, int, int]) -> nn.Module:
    """Put running graphs in the place of a detector's networks; the rest is its own code.

    Args:
        model: A detector of the same form, on the meta device: it holds no weights.
        runs: By the names of its graphs.
        shape: (channels, T, H, W) of clips.
    """
    if isinstance(model, SeStad):
        join_se_stad(model, runs, shape)
    elif isinstance(model, Moc):
        join_moc(model, runs["points"], shape)
    elif isinstance(model, TwoStreamMoc):
        join_two_streams(model, runs, shape)
    elif isinstance(model, Stma):
        join_stma(model, runs)
    else:
        answer_by(model, "raw", runs["raw"])
    return model


def _cut_raw(model: nn.Module, clips: Tensor) -> Graph:
    detector = cast("RawDetector", model)
    with torch.no_grad():
        names = tuple(detector.raw(clips))

    def raw(clips: Tensor) -> tuple[Tensor, ...]:
        return tuple(detector.raw(clips).values())

    return Graph(name="raw", module=Method(model, raw), inputs={"clips": clips}, outputs=names)
