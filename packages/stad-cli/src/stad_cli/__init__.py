"""The stad command: train, evaluate and run spatio-temporal action detectors."""

from importlib.metadata import version

__version__ = version("stad-cli")
