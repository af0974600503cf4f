"""The installed version of stad-eval, which every result carries."""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version


def _read() -> str:
    try:
        return installed_version("stad-eval")
    except PackageNotFoundError:
        return "unknown"


__version__ = _read()
