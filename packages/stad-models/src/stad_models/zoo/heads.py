"""Heads by the names that options and recipes give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from stad_models.heads.acrn import Acrn
from stad_models.heads.action import LinearAction
from stad_models.heads.anchors import AnchorShapes
from stad_models.heads.fcos import Fcos, Ranges, original_fcos
from stad_models.heads.gfocal import Gfocal
from stad_models.heads.localisation import LocalisationHead
from stad_models.heads.rcnn import Rcnn, RegionClassifier
from stad_models.heads.retinanet import RetinaNet
from stad_models.heads.rpn import RegionProposals
from stad_models.heads.scene_action import SceneAction

LocalisationName = Literal["fcos", "fcos_original", "retinanet", "rpn_rcnn", "gfocal_v2"]
"""The rows of SE-STAD's Table 3; "fcos_original" is its FCOS-."""

ActionName = Literal["linear", "scene", "acrn"]
"""SE-STAD's linear head, the published form that joins the scene, and ACRN (Table 7)."""


@dataclass(frozen=True, kw_only=True)
class HeadSize:
    """The numbers of a localisation head; the defaults are the published ones.

    Attributes:
        depth: convolutions per tower.
        distance: how FCOS makes distances of raw outputs.
        anchor_scale: times the published size of anchors.
        candidates: boxes per level that enter the suppression of RPN.
        regions: regions per clip that RCNN looks at.
        width: of RCNN's linear layers.
    """

    depth: int = 4
    distance: Literal["relu", "exp"] = "relu"
    anchor_scale: float = 1.0
    candidates: int = 1000
    regions: int = 512
    width: int = 1024


def localisation_head(
    name: LocalisationName,
    channels: int,
    strides: Sequence[int],
    *,
    ranges: Ranges,
    size: HeadSize,
) -> LocalisationHead:
    """A head on a pyramid of these channels and strides; `ranges` are for FCOS alone.

    Raises:
        ValueError: the name is unknown.
    """
    depth, scale = size.depth, size.anchor_scale
    match name:
        case "fcos":
            return Fcos(
                channels, strides=strides, ranges=ranges, depth=depth, distance=size.distance
            )
        case "fcos_original":
            return original_fcos(channels, strides=strides, ranges=ranges, depth=depth)
        case "retinanet":
            shapes = AnchorShapes(scale=4 * scale)
            return RetinaNet(channels, strides=strides, shapes=shapes, depth=depth)
        case "gfocal_v2":
            return Gfocal(channels, strides=strides, depth=depth, scale=8 * scale)
        case "rpn_rcnn":
            first = RegionProposals(
                channels,
                strides=strides,
                shapes=AnchorShapes(scale=8 * scale, steps=1),
                candidates=size.candidates,
                regions=size.regions,
            )
            return Rcnn(first, RegionClassifier(channels, resolution=7, width=size.width))
        case _:
            raise ValueError(f"localisation must be one of {LocalisationName}, found {name!r}")


def action_head(
    name: ActionName,
    channels: int,
    num_classes: int,
    *,
    stride: int,
    dropout: float = 0.5,
    grid: int = 1,
    context: bool = False,
    width: int = 512,
) -> nn.Module:
    """An action head on clip maps of these channels and this stride.

    Args:
        name: which.
        channels: of all pathways together.
        num_classes: actions.
        stride: pixels per cell.
        dropout: in training.
        grid: of the linear head alone, see `LinearAction`.
        context: of the linear head alone.
        width: channels of ACRN's relations.

    Raises:
        ValueError: the name is unknown, or another head is given a grid or context.
    """
    if name != "linear" and (grid != 1 or context):
        raise ValueError(
            f"grid and context belong to the linear action head; with action {name!r} leave "
            f"grid = 1 and context = false, found grid = {grid} and context = {context}"
        )
    match name:
        case "linear":
            return LinearAction(
                channels, num_classes, stride=stride, dropout=dropout, grid=grid, context=context
            )
        case "scene":
            return SceneAction(channels, num_classes, stride=stride, dropout=dropout)
        case "acrn":
            return Acrn(channels, num_classes, stride=stride, dropout=dropout, width=width)
        case _:
            raise ValueError(f"action must be one of {ActionName}, found {name!r}")
