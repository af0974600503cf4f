"""Why two protocols give two numbers: the options in which they differ, and what each one moves.

It works on any protocol that is a dataclass with a `name` (`FrameProtocol`, `TubeProtocol`).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import Field, dataclass, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from stad_eval.frame import frame_map
from stad_eval.frame_rows import NO_FRAMES
from stad_eval.input_error import InputError
from stad_eval.protocols import FrameProtocol, frame_protocol
from stad_eval.tables import Boxes


class Options(Protocol):
    """A protocol of scoring: a dataclass whose fields are its options, one of them its name."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """The id that results carry."""
        ...


P = TypeVar("P", bound=Options)
_Tried = tuple[float | None, str | None]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An option in which two protocols differ, with its value in either."""

    option: str
    first: object
    second: object


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one option moves.

    Attributes:
        difference: the option.
        first: the first protocol's number with this option alone set to the second's value, less
            its number as it is; None where that combination cannot score the data.
        second: the second protocol's number as it is, less that with this option alone set to the
            first's value: what the option moves on the way's other end.
        obstacle: why there is no number, where one is None.
    """

    difference: Difference
    first: float | None
    second: float | None
    obstacle: str | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Two numbers of the same data, and the options between them.

    The effects need not add up to the difference of the numbers: options act on each other.

    Attributes:
        names: ids of the two protocols.
        values: their numbers; None where a protocol cannot score the data.
        effects: one for each option in which they differ, in the order of the protocol's fields.
    """

    names: tuple[str, str]
    values: tuple[float | None, float | None]
    effects: tuple[Effect, ...]


def differences(first: P, second: P) -> tuple[Difference, ...]:
    """The options in which two protocols of one kind differ, their names left out.

    Raises:
        InputError: if they are of two kinds.
    """
    if type(first) is not type(second):
        raise InputError(
            "protocols of two kinds have no options in common",
            expected=type(first).__name__,
            found=type(second).__name__,
        )
    return tuple(
        Difference(
            option=each.name, first=getattr(first, each.name), second=getattr(second, each.name)
        )
        for each in fields(first)
        if each.name != "name" and getattr(first, each.name) != getattr(second, each.name)
    )


def explain_options(first: P, second: P, score: Callable[[P], float]) -> Explanation:
    """What each differing option moves of a number; `score` gives the number of a protocol.

    Options that cannot be changed alone are changed together, as one effect, which comes last.
    Where `score` raises InputError there is no number.

    Raises:
        InputError: if the protocols are of two kinds.
    """
    found = differences(first, second)
    values = _tried(lambda: first, score), _tried(lambda: second, score)
    effects = [
        _effect(
            each,
            (values[0], _tried(lambda e=each: replace(first, **{e.option: e.second}), score)),
            (_tried(lambda e=each: replace(second, **{e.option: e.first}), score), values[1]),
        )
        for each in found
    ]
    if None not in (values[0][0], values[1][0]):
        effects = _joined(first, second, effects, (values[0], values[1]), score)
    return Explanation(
        names=(first.name, second.name),
        values=(values[0][0], values[1][0]),
        effects=tuple(effects),
    )


def _joined(
    first: P,
    second: P,
    effects: list[Effect],
    values: tuple[_Tried, _Tried],
    score: Callable[[P], float],
) -> list[Effect]:
    """The effects, with options that cannot be changed alone, such as order and ties, as one."""
    stuck = [each.difference for each in effects if each.first is None and each.second is None]
    if len(stuck) < 2:
        return effects
    to_second: dict[str, Any] = {each.option: each.second for each in stuck}
    to_first: dict[str, Any] = {each.option: each.first for each in stuck}
    together = _effect(
        Difference(
            option=", ".join(to_first),
            first=tuple(to_first.values()),
            second=tuple(to_second.values()),
        ),
        (values[0], _tried(lambda: replace(first, **to_second), score)),
        (_tried(lambda: replace(second, **to_first), score), values[1]),
    )
    alone = [each for each in effects if each.difference not in stuck]
    return [*alone, together]


def explain_frames(
    truth: Boxes,
    found: Boxes,
    first: str | FrameProtocol,
    second: str | FrameProtocol,
    *,
    iou: float = 0.5,
    exclude: Collection[tuple[str, int]] = NO_FRAMES,
) -> Explanation:
    """Which options move the frame-mAP of these tables between two protocols, and by how much.

    Raises:
        InputError: on an unknown protocol.
    """

    def mean(options: FrameProtocol) -> float:
        return frame_map(truth, found, options, iou=iou, exclude=exclude).mean

    one, other = (
        frame_protocol(each) if isinstance(each, str) else each for each in (first, second)
    )
    return explain_options(one, other, mean)


def _tried(make: Callable[[], P], score: Callable[[P], float]) -> _Tried:
    try:
        return score(make()), None
    except InputError as error:
        return None, str(error)


def _effect(
    difference: Difference, first: tuple[_Tried, _Tried], second: tuple[_Tried, _Tried]
) -> Effect:
    obstacles = [why for _, why in (*first, *second) if why is not None]
    return Effect(
        difference=difference,
        first=_change(first),
        second=_change(second),
        obstacle=obstacles[0] if obstacles else None,
    )


def _change(pair: Sequence[_Tried]) -> float | None:
    (before, _), (after, _) = pair
    return None if before is None or after is None else after - before
