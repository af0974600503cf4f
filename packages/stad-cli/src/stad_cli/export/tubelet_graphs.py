"""Where detectors of tubelets are cut. K is the frames of a tubelet, N clips, F single frames.

MOC is one graph, and with flow one per stream. STMA is cut as its streaming pass is: what is worked
out frame by frame, from the clip, and from K frames together.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from stad_cli.export.graph import Graph, Method, Run, answer_by
from stad_cli.export.tensor_tree import filled
from stad_models.detectors.moc import Moc
from stad_models.detectors.snippets import snippet, unflattened
from stad_models.detectors.stma import Stma
from stad_models.detectors.two_stream_moc import TwoStreamMoc
from stad_models.heads.tubelet import PointMaps

POINTS = ("centers", "movement", "sizes")


def cut_moc(model: Moc, clips: Tensor, *, name: str = "points") -> Graph:
    """K frames `[N, K, C, H, W]` to the maps of centers, movement and sizes."""
    size = (clips.shape[4], clips.shape[3])

    def points(frames: Tensor) -> tuple[Tensor, ...]:
        maps = model.frame_maps(frames.flatten(0, 1))
        count = model.tubelet_length
        found = model.points(tuple(unflattened(x, count) for x in maps), size)
        return found.centers, found.movement, found.sizes

    frames = snippet(clips, model.tubelet_length).contiguous()
    return Graph(name=name, module=Method(model, points), inputs={"frames": frames}, outputs=POINTS)


def join_moc(model: Moc, run: Run, shape: tuple[int, int, int, int]) -> None:
    """Let a MOC on the meta device answer by its graph."""
    channels, _, height, width = shape
    frames = torch.empty((model.tubelet_length, channels, height, width), device="meta")
    with torch.no_grad():
        maps = tuple(unflattened(x, model.tubelet_length) for x in model.frame_maps(frames))
        template = model.points(maps, (width, height))
    # The frames go through unchanged; the graph does in one what both steps did.
    answer_by(model, "frame_maps", lambda frames: (frames,))
    answer_by(model, "points", lambda maps, _size: filled(template, run(maps[0])))


def cut_two_streams(model: TwoStreamMoc, clips: Tensor) -> list[Graph]:
    """One graph per stream, "colour" and "flow", as a MOC's."""
    colour, flow = _streams(model, clips)
    return [
        cut_moc(model.colour, colour, name="colour"),
        cut_moc(model.flow, flow, name="flow"),
    ]


def join_two_streams(
    model: TwoStreamMoc, runs: Mapping[str, Run], shape: tuple[int, int, int, int]
) -> None:
    """Let both streams answer by their graphs."""
    join_moc(model.colour, runs["colour"], (model.colour.channels_in, *shape[1:]))
    join_moc(model.flow, runs["flow"], (model.flow.channels_in, *shape[1:]))


def _streams(model: TwoStreamMoc, clips: Tensor) -> tuple[Tensor, ...]:
    return clips.split((model.colour.channels_in, model.flow.channels_in), dim=1)


def cut_stma(model: Stma, clips: Tensor) -> list[Graph]:
    """The graphs "frames" and "points" and, where the model has these parts, "clip", "actions"."""
    frames = snippet(clips, model.tubelet_length).flatten(0, 1).contiguous()
    with torch.no_grad():
        maps = tuple(unflattened(x, model.tubelet_length) for x in model.frame_maps(frames))
        whole = model.clip_maps(clips)

    def points(features: Tensor) -> tuple[Tensor, Tensor]:
        # Sizes were told frame by frame, and only pass through the head.
        found: PointMaps = model.tubelet_head(features, features)
        return found.centers, found.movement

    graphs = [
        Graph(
            name="frames",
            module=Method(model, model.frame_maps),
            inputs={"frames": frames},
            outputs=("features", "sizes", "coarse")[: len(maps)],
        ),
        Graph(
            name="points",
            module=Method(model.tubelet_head, points),
            inputs={"features": maps[0]},
            outputs=POINTS[:2],
        ),
    ]
    if model.sees_clip:
        method = Method(model, model.clip_maps)
        graphs.append(
            Graph(name="clip", module=method, inputs={"clips": clips}, outputs=("together",))
        )
    if model.action_head is not None:
        inputs: dict[str, Tensor] = {"coarse": maps[2]}
        if whole:
            inputs["together"] = whole[0]
        method = Method(model.action_head, model.action_head.forward)
        graphs.append(Graph(name="actions", module=method, inputs=inputs, outputs=("logits",)))
    return graphs


def join_stma(model: Stma, runs: Mapping[str, Run]) -> None:
    """Let a STMA on the meta device answer by its graphs."""

    def points(features: Tensor, sizes: Tensor) -> PointMaps:
        return PointMaps(**runs["points"](features), sizes=sizes)

    def actions(*maps: Tensor) -> Tensor:
        return runs["actions"](*maps)["logits"]

    answer_by(model, "frame_maps", lambda frames: tuple(runs["frames"](frames).values()))
    answer_by(model.tubelet_head, "forward", points)
    if model.sees_clip:
        answer_by(model, "clip_maps", lambda clips: tuple(runs["clip"](clips).values()))
    if model.action_head is not None:
        answer_by(model.action_head, "forward", actions)
