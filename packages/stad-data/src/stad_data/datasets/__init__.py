"""Readers of published datasets; every one gives the same ``Dataset``."""

from stad_data.datasets import ava, jhmdb, ucf24

__all__ = ["ava", "jhmdb", "ucf24"]
