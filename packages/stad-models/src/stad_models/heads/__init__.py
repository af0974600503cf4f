"""Heads: where actors are, and what they do."""
