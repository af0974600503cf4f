"""Pyramids between trunk and heads."""
