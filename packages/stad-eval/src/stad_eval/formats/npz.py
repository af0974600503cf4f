"""Files of named arrays (npz), read without pickles."""

import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stad_eval.formats.files import replaced_bytes
from stad_eval.input_error import InputError


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file by name; nothing in the file is run.

    Raises:
        InputError: if there is no such file, it is damaged, or it holds python objects.
    """
    path = Path(path)
    arrays: dict[str, NDArray[Any]] = {}
    name = ""
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, on headers of Python 2
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                with archive.open(entry) as stream:
                    arrays[name] = npy.read_array(stream, allow_pickle=False)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except IsADirectoryError:
        raise InputError("this is a folder", path=path, expected="a file") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, TypeError) as error:
        raise _damaged(path, name, error) from None
    except _OF_HEADERS as error:
        raise _damaged(path, name, error) from None
    return arrays


# What numpy lets through when the header of an array is no header.
_OF_HEADERS = (
    RuntimeError,
    MemoryError,
    OverflowError,
    KeyError,
    IndexError,
    SyntaxError,
    tokenize.TokenError,
    RecursionError,
    AttributeError,
)


def _damaged(path: Path, name: str, error: Exception) -> InputError:
    return InputError(
        "not a readable npz file",
        path=path,
        row=f"'{name}'" if name else None,
        expected="arrays of numbers and strings, as numpy.savez writes them",
        found=str(error)[:200] or type(error).__name__,
    )


def write_npz(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, whole or not at all.

    Raises:
        InputError: if the folder does not exist, or an array holds python objects.
        OSError: if it cannot be written.
    """
    for name, array in arrays.items():
        if array.dtype.kind == "O":
            raise InputError(f"array '{name}' holds python objects", path=path)
    with replaced_bytes(path) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, np.asanyarray(array), allow_pickle=False)
