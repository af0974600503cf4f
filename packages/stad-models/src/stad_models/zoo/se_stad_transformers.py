"""SE-STAD on transformer backbones.

The paper names Video Swin, ViViT and MViT (Sec. 3.3.1) and gives no settings: heads, pyramid and
options are those of its ResNets, drop path and clips those of each backbone's own paper.
"""

from __future__ import annotations

from stad_models.backbones.vivit import VivitShape
from stad_models.detectors.se_stad import SeStad
from stad_models.detectors.se_stad_options import SeStadOptions
from stad_models.zoo.heads import ActionName, LocalisationName
from stad_models.zoo.se_stad import PyramidName, compose
from stad_models.zoo.transformers import (
    VIVIT_SMALL,
    LastStride,
    mvit_v1_b,
    mvit_v2_s,
    swin3d_b,
    swin3d_s,
    swin3d_t,
    vivit_small,
)


def se_stad_mvit_v1_b(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    last_stride: LastStride = 16,
    drop_path: float = 0.2,
    clip_length: int = 16,
    clip_stride: int = 4,
) -> SeStad:
    """SE-STAD on MViT-B (v1); arguments as `compose` and `mvit_v1_b`."""
    return compose(
        mvit_v1_b(last_stride=last_stride, drop_path=drop_path),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def se_stad_mvit_v2_s(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    last_stride: LastStride = 16,
    drop_path: float = 0.2,
    clip_length: int = 16,
    clip_stride: int = 4,
) -> SeStad:
    """SE-STAD on MViTv2-S; arguments as `compose` and `mvit_v2_s`."""
    return compose(
        mvit_v2_s(last_stride=last_stride, drop_path=drop_path),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def se_stad_swin3d_t(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    drop_path: float = 0.1,
    clip_length: int = 32,
    clip_stride: int = 2,
) -> SeStad:
    """SE-STAD on Video Swin-T; arguments as `compose` and `swin3d_t`."""
    return compose(
        swin3d_t(drop_path=drop_path),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def se_stad_swin3d_s(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    drop_path: float = 0.1,
    clip_length: int = 32,
    clip_stride: int = 2,
) -> SeStad:
    """SE-STAD on Video Swin-S; arguments as `compose` and `swin3d_s`."""
    return compose(
        swin3d_s(drop_path=drop_path),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def se_stad_swin3d_b(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    pyramid: PyramidName = "res34",
    recompute: bool = False,
    drop_path: float = 0.1,
    clip_length: int = 32,
    clip_stride: int = 2,
) -> SeStad:
    """SE-STAD on Video Swin-B; arguments as `compose` and `swin3d_b`."""
    return compose(
        swin3d_b(drop_path=drop_path),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        pyramid=pyramid,
        recompute=recompute,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )


def se_stad_vivit_small(  # noqa: PLR0913 - a named builder shows its knobs
    num_classes: int,
    *,
    exclusive: bool = False,
    options: SeStadOptions | None = None,
    localisation: LocalisationName = "fcos",
    action: ActionName = "linear",
    recompute: bool = False,
    trunk: VivitShape = VIVIT_SMALL,
    clip_length: int = 16,
    clip_stride: int = 4,
) -> SeStad:
    """SE-STAD on ViViT with a factorised encoder; `trunk` varies its numbers."""
    return compose(
        vivit_small(trunk),
        num_classes,
        exclusive=exclusive,
        options=options,
        localisation=localisation,
        action=action,
        recompute=recompute,
        clip_length=clip_length,
        clip_stride=clip_stride,
    )
