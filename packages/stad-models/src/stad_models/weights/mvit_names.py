"""Names inside the multiscale transformers of Facebook's two projects, which differ little."""

from __future__ import annotations

from stad_models.weights.layout import HEAD, Rule

_NET = "transformer."
_POSITIONS = rf"{_NET}pos_encoding."
_BLOCK = r"blocks\.(\d+)\."

COMMON_RULES: tuple[Rule, ...] = (
    (_BLOCK + r"(norm[12]\.(?:weight|bias))", rf"{_NET}blocks.\1.\2"),
    (_BLOCK + r"(attn\.qkv\.(?:weight|bias))", rf"{_NET}blocks.\1.\2"),
    (_BLOCK + r"(attn\.rel_pos_[hwt])", rf"{_NET}blocks.\1.\2"),
    (_BLOCK + r"attn\.proj\.(weight|bias)", rf"{_NET}blocks.\1.attn.project.0.\2"),
    (_BLOCK + r"attn\.pool_([qkv])\.weight", rf"{_NET}blocks.\1.attn.pool_\2.pool.weight"),
    (
        _BLOCK + r"attn\.norm_([qkv])\.(weight|bias)",
        rf"{_NET}blocks.\1.attn.pool_\2.norm_act.0.\3",
    ),
    (_BLOCK + r"mlp\.fc1\.(weight|bias)", rf"{_NET}blocks.\1.mlp.0.\2"),
    (_BLOCK + r"mlp\.fc2\.(weight|bias)", rf"{_NET}blocks.\1.mlp.3.\2"),
    (_BLOCK + r"proj\.(weight|bias)", rf"{_NET}blocks.\1.project.\2"),
)

PYSLOWFAST_RULES: tuple[Rule, ...] = (
    *COMMON_RULES,
    (r"cls_token", rf"{_POSITIONS}class_token"),
    (r"pos_embed_(spatial|temporal|class)", rf"{_POSITIONS}\1_pos"),
    (r"patch_embed\.proj\.(weight|bias)", rf"{_NET}conv_proj.\1"),
    (r"norm\.(weight|bias)", rf"{_NET}norm.\1"),
)

PYTORCHVIDEO_RULES: tuple[Rule, ...] = (
    *COMMON_RULES,
    (r"cls_positional_encoding\.cls_token", rf"{_POSITIONS}class_token"),
    (r"cls_positional_encoding\.pos_embed_(spatial|temporal|class)", rf"{_POSITIONS}\1_pos"),
    (r"patch_embed\.patch_model\.(weight|bias)", rf"{_NET}conv_proj.\1"),
    (r"norm_embed\.(weight|bias)", rf"{_NET}norm.\1"),
    (r"head\.proj\.(weight|bias)", rf"{HEAD}\1"),
)
