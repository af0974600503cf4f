"""torchvision's names of its video transformers: MViT v1-B and v2-S, Video Swin T, S and B."""

from __future__ import annotations

from stad_models.weights.layout import HEAD, Layout, renaming

TORCHVISION = Layout(
    name="torchvision",
    project="torchvision",
    example="blocks.3.attn.pool_k.norm_act.0.weight",
    rename=renaming(
        (
            (r"head\.(?:1\.)?(weight|bias)", rf"{HEAD}\1"),
            (r"((?:conv_proj|norm)\.(?:weight|bias))", r"transformer.\1"),
            (r"(pos_encoding\.(?:class_token|(?:spatial|temporal|class)_pos))", r"transformer.\1"),
            (r"(blocks\.\d+\.(?:norm[12]|project|mlp\.[03])\.(?:weight|bias))", r"transformer.\1"),
            (r"(blocks\.\d+\.attn\.(?:qkv|project\.0)\.(?:weight|bias))", r"transformer.\1"),
            (r"(blocks\.\d+\.attn\.pool_[qkv]\.pool\.weight)", r"transformer.\1"),
            (r"(blocks\.\d+\.attn\.pool_[qkv]\.norm_act\.0\.(?:weight|bias))", r"transformer.\1"),
            (r"(blocks\.\d+\.attn\.rel_pos_[hwt])", r"transformer.\1"),
            (r"(patch_embed\.(?:proj|norm)\.(?:weight|bias))", r"transformer.\1"),
            (
                r"(features\.\d\.\d+\.(?:norm[12]|mlp\.[03]|attn\.(?:qkv|proj))\.(?:weight|bias))",
                r"transformer.\1",
            ),
            (
                r"(features\.\d\.\d+\.attn\.relative_position_(?:bias_table|index))",
                r"transformer.\1",
            ),
            (r"(features\.[135]\.(?:norm|reduction)\.(?:weight|bias))", r"transformer.\1"),
        )
    ),
)
