"""Tensors inside dataclasses, tuples and lists: as one flat table by name, and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor


def leaves(tree: object, prefix: str = "") -> dict[str, Tensor]:
    """All tensors of a tree by their place, such as "regions.boxes_NR4" or "levels.0"."""
    if isinstance(tree, Tensor):
        return {prefix: tree}
    found: dict[str, Tensor] = {}
    for name, part in _parts(tree).items():
        found |= leaves(part, f"{prefix}.{name}" if prefix else name)
    return found


def filled(tree: Any, tensors: Mapping[str, Tensor], prefix: str = "") -> Any:  # noqa: ANN401
    """The same tree with other tensors in the places that `leaves` names; the rest stays."""
    if isinstance(tree, Tensor):
        return tensors[prefix]
    parts = {
        name: filled(part, tensors, f"{prefix}.{name}" if prefix else name)
        for name, part in _parts(tree).items()
    }
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return dataclasses.replace(tree, **parts)
    if isinstance(tree, tuple | list):
        kind = cast("type[tuple[Any, ...]]", type(cast("object", tree)))
        return kind(parts.values())
    return tree


def _parts(tree: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
    if isinstance(tree, tuple | list):
        items = cast("tuple[Any, ...]", tree)
        return {str(number): part for number, part in enumerate(items)}
    return {}
