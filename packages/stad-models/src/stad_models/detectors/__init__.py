"""Whole detectors: composition only."""
