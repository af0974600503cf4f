"""Semi-supervised training for any detector: a teacher that follows the student, schedules."""

from stad_ssl.mean_teacher import MeanTeacher
from stad_ssl.schedules import cosine, early_momentum, linear_ramp_up, sigmoid_ramp_up

__all__ = ["MeanTeacher", "cosine", "early_momentum", "linear_ramp_up", "sigmoid_ramp_up"]
