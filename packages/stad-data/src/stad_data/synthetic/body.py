"""The articulated body: from channel states to joints, and the capsules that give it flesh.

Joints are in units of the actor's height, x to the right, y down, origin on the ground between the
feet. The body has no facing side, so that mirror images and time reversals look alike.
Suffix legend: T = frames, J = joints, L = limbs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stad_data.synthetic.actions import Family

JOINTS: tuple[str, ...] = (
    "hip",
    "neck",
    "chin",
    "crown",
    "left_shoulder",
    "left_elbow",
    "left_hand",
    "right_shoulder",
    "right_elbow",
    "right_hand",
    "left_hip",
    "left_knee",
    "left_foot",
    "right_hip",
    "right_knee",
    "right_foot",
)

# from joint, to joint, radius there, radius here (fractions of the height), what covers it.
LIMBS: tuple[tuple[str, str, float, float, str], ...] = (
    ("left_hip", "left_knee", 0.050, 0.040, "trousers"),
    ("left_knee", "left_foot", 0.040, 0.030, "trousers"),
    ("right_hip", "right_knee", 0.050, 0.040, "trousers"),
    ("right_knee", "right_foot", 0.040, 0.030, "trousers"),
    ("hip", "neck", 0.090, 0.105, "shirt"),
    ("chin", "crown", 0.062, 0.062, "head"),
    ("left_shoulder", "left_elbow", 0.048, 0.044, "sleeve"),
    ("left_elbow", "left_hand", 0.044, 0.044, "forearm"),
    ("right_shoulder", "right_elbow", 0.048, 0.044, "sleeve"),
    ("right_elbow", "right_hand", 0.044, 0.044, "forearm"),
)
_JOINT = {name: place for place, name in enumerate(JOINTS)}
LIMB_FROM = np.array([_JOINT[limb[0]] for limb in LIMBS])
LIMB_TO = np.array([_JOINT[limb[1]] for limb in LIMBS])
LIMB_RADII = np.array([limb[2:4] for limb in LIMBS])
LIMB_COVERS: tuple[str, ...] = tuple(limb[4] for limb in LIMBS)

THIGH = 0.24
UPPER_ARM = 0.175
HIP_HEIGHT = 0.47
CROUCH = 0.29
STEP = 0.15
LIFT = 0.11


@dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """Channel states of one actor over time.

    Attributes:
        arms: Family of the arms' channel.
        arms_state: [T] in [0, 1].
        legs: Family of the legs' channel.
        legs_state: [T] in [0, 1].
        lean: [T] radians, how far the torso leans to the right.
        bend: [T] radians, how far the elbows are bent.
        width: How stout the body is; 1 is average.
    """

    arms: Family
    arms_state: NDArray[np.float64]
    legs: Family
    legs_state: NDArray[np.float64]
    lean: NDArray[np.float64]
    bend: NDArray[np.float64]
    width: float


def joints(pose: Pose) -> NDArray[np.float64]:
    """Joint positions [T,J,2] in units of the actor's height, in the order of `JOINTS`."""
    out_TJ2 = np.zeros((pose.arms_state.size, len(JOINTS), 2))
    hip_height_T = HIP_HEIGHT - (CROUCH * pose.legs_state if pose.legs == "knees" else 0.0)
    hip_T2 = np.zeros((pose.arms_state.size, 2))
    hip_T2[:, 1] = -hip_height_T
    up_T2 = np.stack([np.sin(pose.lean), -np.cos(pose.lean)], axis=-1)
    right_T2 = np.stack([np.cos(pose.lean), np.sin(pose.lean)], axis=-1)
    out_TJ2[:, _JOINT["hip"]] = hip_T2 + 0.04 * up_T2
    out_TJ2[:, _JOINT["neck"]] = hip_T2 + 0.21 * up_T2
    out_TJ2[:, _JOINT["chin"]] = hip_T2 + 0.385 * up_T2
    out_TJ2[:, _JOINT["crown"]] = hip_T2 + 0.455 * up_T2
    for side, sign in (("left", -1.0), ("right", 1.0)):
        shoulder_T2 = hip_T2 + 0.275 * up_T2 + sign * 0.115 * pose.width * right_T2
        upper_T, fore_T = _arm_angles(pose, sign)
        elbow_T2 = shoulder_T2 + UPPER_ARM * _heading(upper_T)
        out_TJ2[:, _JOINT[f"{side}_shoulder"]] = shoulder_T2
        out_TJ2[:, _JOINT[f"{side}_elbow"]] = elbow_T2
        out_TJ2[:, _JOINT[f"{side}_hand"]] = elbow_T2 + UPPER_ARM * _heading(fore_T)
        hip_side_T2 = hip_T2 + np.array([sign * 0.055 * pose.width, 0.0])
        foot_T2 = _foot(pose, sign)
        out_TJ2[:, _JOINT[f"{side}_hip"]] = hip_side_T2
        out_TJ2[:, _JOINT[f"{side}_knee"]] = _knee(hip_side_T2, foot_T2, sign)
        out_TJ2[:, _JOINT[f"{side}_foot"]] = foot_T2
    return out_TJ2


def extents(joints_TJ2: NDArray[np.float64], radii_TL2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tight boxes [T,4] round the capsules; the frame's edge is not considered."""
    ends = np.concatenate([joints_TJ2[:, LIMB_FROM], joints_TJ2[:, LIMB_TO]], axis=1)
    radii = np.concatenate([radii_TL2[..., 0], radii_TL2[..., 1]], axis=1)[..., None]
    return np.concatenate([(ends - radii).min(axis=1), (ends + radii).max(axis=1)], axis=-1)


def _heading(angle_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors [T,2]; 0 points right, a quarter turn points down."""
    return np.stack([np.cos(angle_T), np.sin(angle_T)], axis=-1)


def _arm_angles(pose: Pose, sign: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if pose.arms == "mirrored":
        # From straight down, outwards, to straight up.
        lift_T = np.pi * pose.arms_state
        upper_T = np.pi / 2 - sign * lift_T
        return upper_T, upper_T - sign * pose.bend
    turn_T = 2 * np.pi * pose.arms_state + (0.0 if sign > 0 else np.pi)
    return turn_T, turn_T + pose.bend


def _foot(pose: Pose, sign: float) -> NDArray[np.float64]:
    """[T,2]; the ankle stays a limb's radius above the ground."""
    if pose.legs == "knees":
        x_T = np.full(pose.legs_state.size, sign * 0.11 * pose.width)
        return np.stack([x_T, np.full_like(x_T, -0.03)], axis=-1)
    phase_T = 2 * np.pi * pose.legs_state + (0.0 if sign > 0 else np.pi)
    x_T = sign * 0.06 * pose.width + STEP * np.sin(phase_T)
    return np.stack([x_T, -0.03 - LIFT * np.maximum(np.cos(phase_T), 0.0)], axis=-1)


def _knee(
    hip_T2: NDArray[np.float64], foot_T2: NDArray[np.float64], sign: float
) -> NDArray[np.float64]:
    """Thigh and shin are equally long; the knee gives way outwards."""
    span_T2 = foot_T2 - hip_T2
    length_T = np.hypot(span_T2[:, 0], span_T2[:, 1])
    outwards_T2 = np.stack([span_T2[:, 1], -span_T2[:, 0]], axis=-1) * sign
    offset_T = np.sqrt(np.maximum(THIGH**2 - (length_T / 2) ** 2, 0.0)) / length_T
    return (hip_T2 + foot_T2) / 2 + outwards_T2 * offset_T[:, None]
