"""How deep containers nest, and how many values they unfold to where they share what they hold.

A few bytes of a pickle can say "ten times the list before" sixty times over. That copies nothing,
but whoever walks through the result (numpy does) never comes back.
"""

import numpy as np

MAX_DEPTH = 1000  # published files nest up to six levels
_CONTAINERS = frozenset((list, tuple, dict, np.ndarray))


class NestingError(ValueError):
    """Containers that nest too deep, hold themselves, or unfold to too much."""


def check_nesting(content: object, *, limit: int) -> None:
    """Refuse containers that no one could walk through; takes time in what is there, not unfolded.

    Args:
        content: any value; lists, tuples, dicts and arrays of objects are looked into.
        limit: values that it may unfold to, one that is held twice counted twice.

    Raises:
        NestingError: saying which of the three it is.
    """
    known: dict[int, tuple[int, int]] = {}  # by id, of finished containers: values, levels
    unfinished: set[int] = set()
    todo: list[tuple[object, list[object] | None]] = [(content, None)]
    while todo:
        holder, held = todo.pop()
        if held is None:
            if id(holder) in known:
                continue
            if id(holder) in unfinished:
                raise NestingError("it holds a container that holds itself")
            unfinished.add(id(holder))
            held = _held(holder)
            todo.append((holder, held))
            todo.extend((each, None) for each in held)
            continue
        inner = [known[id(each)] for each in held]
        values = _size(holder) + sum(count for count, _ in inner)
        levels = 1 + max((depth for _, depth in inner), default=0)
        if levels > MAX_DEPTH:
            raise NestingError(f"it nests deeper than {MAX_DEPTH} levels")
        if values > limit:
            raise NestingError(f"what it shares unfolds to more than {limit} values")
        known[id(holder)] = values, levels
        unfinished.discard(id(holder))


def _held(holder: object) -> list[object]:
    """The containers right inside."""
    if isinstance(holder, dict):
        values = holder.values()
    elif isinstance(holder, np.ndarray):
        values = holder.flat if holder.dtype.hasobject else ()
    else:
        values = holder if isinstance(holder, (list, tuple)) else ()
    return [each for each in values if type(each) in _CONTAINERS]


def _size(holder: object) -> int:
    if isinstance(holder, np.ndarray):
        return holder.size if holder.dtype.hasobject else 1
    return len(holder) if isinstance(holder, (list, tuple, dict)) else 1
