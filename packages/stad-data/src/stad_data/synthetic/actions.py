"""The actions of the synthetic world: names, how often each occurs, and how each moves.

An actor has two channels, arms and legs, and each channel belongs to one of two families for the
whole video. Within a family every action passes through the same poses with the same probability,
and so does idling (a pose of the family, held): one frame tells the family, only motion the action.

=========  ==========================================  =======================================
family     state                                       actions
=========  ==========================================  =======================================
mirrored   both arms at the same angle, 0 = down,      raise_arms, lower_arms, flap_arms
           1 = up
opposite   one arm at an angle, one opposite, turns    windmill_cw, windmill_ccw
gait       phase of a step, turns                      walk_left, walk_right, march
knees      0 = upright, 1 = crouched                   squat_down, rise_up
=========  ==========================================  =======================================
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["mirrored", "opposite", "gait", "knees"]

# The share of each action in its family's active time: the tail of the distribution.
FAMILIES: dict[Family, dict[str, float]] = {
    "mirrored": {"raise_arms": 0.48, "flap_arms": 0.33, "lower_arms": 0.19},
    "opposite": {"windmill_cw": 0.66, "windmill_ccw": 0.34},
    "gait": {"walk_left": 0.41, "walk_right": 0.41, "march": 0.18},
    "knees": {"squat_down": 0.70, "rise_up": 0.30},
}
FAMILY_OF: dict[str, Family] = {
    name: family for family, names in FAMILIES.items() for name in names
}
SINGLE_ACTIONS: tuple[str, ...] = tuple(sorted(FAMILY_OF))
INTERACTIONS: tuple[str, ...] = ("approach", "part")
IDLE = "stand"
ACTIONS: tuple[str, ...] = (*SINGLE_ACTIONS, *INTERACTIONS, IDLE)
"""Every class of the AVA layout, in the order of their ids 1, 2, ..."""

FLIP_PAIRS: tuple[tuple[str, str], ...] = (
    ("walk_left", "walk_right"),
    ("windmill_cw", "windmill_ccw"),
)
"""Classes that a horizontal flip turns into each other."""

# How often each action heads a video of a single-label layout (JHMDB, UCF101-24).
SINGLE_SHARES: dict[str, float] = {
    "raise_arms": 0.20,
    "walk_left": 0.17,
    "windmill_cw": 0.14,
    "walk_right": 0.12,
    "squat_down": 0.10,
    "flap_arms": 0.08,
    "windmill_ccw": 0.06,
    "march": 0.05,
    "lower_arms": 0.04,
    "rise_up": 0.04,
}

# Seconds per cycle, from and to.
PERIODS: dict[str, tuple[float, float]] = {
    "raise_arms": (1.0, 1.4),
    "lower_arms": (1.0, 1.4),
    "flap_arms": (0.5, 0.62),
    "windmill_cw": (1.2, 1.8),
    "windmill_ccw": (1.2, 1.8),
    "walk_left": (0.8, 1.1),
    "walk_right": (0.8, 1.1),
    "march": (0.8, 1.1),
    "squat_down": (1.0, 1.4),
    "rise_up": (1.0, 1.4),
}

# The part of a sawtooth's cycle that goes the slow way; the rest goes back.
SLOW_PART = 0.8

# Which way the state goes: slow rise and quick fall, the reverse, both alike, or turning.
SHAPES: dict[str, Literal["up", "down", "both", "turn"]] = {
    "raise_arms": "up",
    "lower_arms": "down",
    "flap_arms": "both",
    "windmill_cw": "turn",
    "windmill_ccw": "turn",
    "walk_left": "turn",
    "walk_right": "turn",
    "march": "turn",
    "squat_down": "up",
    "rise_up": "down",
}


def camel_case(name: str) -> str:
    """The class name as UCF101-24 spells its own: `walk_left` becomes `WalkLeft`."""
    return "".join(word.capitalize() for word in name.split("_"))


def flip_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Index pairs of the classes in `names` that a horizontal flip swaps.

    Both spellings are known (`walk_left`, `WalkLeft`); names of other datasets give no pair.
    """
    spelled = [*FLIP_PAIRS, *((camel_case(a), camel_case(b)) for a, b in FLIP_PAIRS)]
    return tuple((names.index(a), names.index(b)) for a, b in spelled if a in names and b in names)


def direction(action: str, rng: np.random.Generator) -> float:
    """The sense in which a turning action turns, +1 or -1; marching knows both."""
    match action:
        case "windmill_ccw" | "walk_left":
            return -1.0
        case "march":
            return float(rng.choice((-1.0, 1.0)))
        case _:
            return 1.0


def states(
    action: str, start: float, seconds: NDArray[np.float64], *, period: float, sense: float
) -> NDArray[np.float64]:
    """The channel's state over an action that takes over at state `start`.

    Args:
        action: One of `SINGLE_ACTIONS`.
        start: State in [0, 1] when the action begins.
        seconds: [T], time since the beginning.
        period: Seconds per cycle.
        sense: From `direction`; for a swing that goes both ways, the way it sets out.

    Returns:
        [T] in [0, 1]; a turning state wraps round. Over whole cycles it is uniform.
    """
    turns = seconds / period
    match SHAPES[action]:
        case "turn":
            return np.mod(start + sense * turns, 1.0)
        case "up":
            return _sawtooth(SLOW_PART * start + turns)
        case "down":
            return _sawtooth(SLOW_PART * start - turns)
        case "both":
            phase = np.mod(start / 2 * sense + turns, 1.0)
            return 1.0 - np.abs(1.0 - 2.0 * phase)


def _sawtooth(phase: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 up to 1 over the slow part of the cycle, then back to 0."""
    phase = np.mod(phase, 1.0)
    return np.where(phase < SLOW_PART, phase / SLOW_PART, (1.0 - phase) / (1.0 - SLOW_PART))
