"""Every named model, composed where a reader can see it: one file per family."""

from stad_models.zoo.cfad import cfad_i3d, cfad_tiny
from stad_models.zoo.inception import i3d, i3d_tiny
from stad_models.zoo.object_segmentation import vos_i3d, vos_tiny
from stad_models.zoo.se_stad import (
    se_stad_slowfast_r50_4x16,
    se_stad_slowfast_r50_8x8,
    se_stad_slowfast_r50_8x8_res234,
    se_stad_slowfast_r50_8x8_res345,
    se_stad_slowfast_r101_8x8,
    se_stad_slowfast_r101_nl_8x8,
    se_stad_slowonly_r50_4x16,
    se_stad_slowonly_r50_8x8,
)
from stad_models.zoo.se_stad_small import se_stad_small, se_stad_tiny
from stad_models.zoo.se_stad_transformers import (
    se_stad_mvit_v1_b,
    se_stad_mvit_v2_s,
    se_stad_swin3d_b,
    se_stad_swin3d_s,
    se_stad_swin3d_t,
    se_stad_vivit_small,
)
from stad_models.zoo.transformers import (
    mvit_v1_b,
    mvit_v2_s,
    swin3d_b,
    swin3d_s,
    swin3d_t,
    vivit_small,
)
from stad_models.zoo.trunks import (
    slowfast_r50_4x16,
    slowfast_r50_8x8,
    slowfast_r101_8x8,
    slowfast_r101_nl_8x8,
    slowonly_r50_4x16,
    slowonly_r50_8x8,
)
from stad_models.zoo.tubelets import (
    moc_dla34,
    moc_dla34_two_stream,
    moc_tiny,
    moc_tiny_two_stream,
    stma_dla34_resnext101,
    stma_tiny,
)
from stad_models.zoo.video_capsule import video_capsule_i3d, video_capsule_tiny

__all__ = [
    "cfad_i3d",
    "cfad_tiny",
    "i3d",
    "i3d_tiny",
    "moc_dla34",
    "moc_dla34_two_stream",
    "moc_tiny",
    "moc_tiny_two_stream",
    "mvit_v1_b",
    "mvit_v2_s",
    "se_stad_mvit_v1_b",
    "se_stad_mvit_v2_s",
    "se_stad_slowfast_r50_4x16",
    "se_stad_slowfast_r50_8x8",
    "se_stad_slowfast_r50_8x8_res234",
    "se_stad_slowfast_r50_8x8_res345",
    "se_stad_slowfast_r101_8x8",
    "se_stad_slowfast_r101_nl_8x8",
    "se_stad_slowonly_r50_4x16",
    "se_stad_slowonly_r50_8x8",
    "se_stad_small",
    "se_stad_swin3d_b",
    "se_stad_swin3d_s",
    "se_stad_swin3d_t",
    "se_stad_tiny",
    "se_stad_vivit_small",
    "slowfast_r50_4x16",
    "slowfast_r50_8x8",
    "slowfast_r101_8x8",
    "slowfast_r101_nl_8x8",
    "slowonly_r50_4x16",
    "slowonly_r50_8x8",
    "stma_dla34_resnext101",
    "stma_tiny",
    "swin3d_b",
    "swin3d_s",
    "swin3d_t",
    "video_capsule_i3d",
    "video_capsule_tiny",
    "vivit_small",
    "vos_i3d",
    "vos_tiny",
]
