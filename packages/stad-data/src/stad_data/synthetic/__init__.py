"""Synthetic videos of articulated actors whose actions only motion tells apart.

`make` writes them as real files in the layouts of AVA, JHMDB and UCF101-24; `simulate` gives one
video's truth without drawing it. What the actions are and why one frame does not tell them apart:
`stad_data.synthetic.actions`.
"""

from stad_data.synthetic.actions import ACTIONS, FLIP_PAIRS, flip_pairs
from stad_data.synthetic.making import SyntheticSet, make
from stad_data.synthetic.scene import Actor, Scene, simulate

__all__ = [
    "ACTIONS",
    "FLIP_PAIRS",
    "Actor",
    "Scene",
    "SyntheticSet",
    "flip_pairs",
    "make",
    "simulate",
]
