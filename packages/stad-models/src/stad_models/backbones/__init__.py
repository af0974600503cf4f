"""Trunks that turn clips into features."""
