"""What a training step adds up: the one thing that differs between supervised and other training.

The loop in `engine.loop` knows `Method` only. A new way of training (a teacher beside the student,
pseudo labels, consistency, stages that follow each other) is a new Method with its own stream of
batches, and a line in `build_method`; a new detector needs neither.
"""

from stad_cli.engine.methods.building import build_method
from stad_cli.engine.methods.consistency import Consistency
from stad_cli.engine.methods.method import Losses, Method, TrainingData
from stad_cli.engine.methods.pseudo_labels import PseudoLabelling
from stad_cli.engine.methods.supervised import Supervised, freeze_statistics

__all__ = [
    "Consistency",
    "Losses",
    "Method",
    "PseudoLabelling",
    "Supervised",
    "TrainingData",
    "build_method",
    "freeze_statistics",
]
