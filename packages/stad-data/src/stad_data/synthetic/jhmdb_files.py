"""Write JHMDB's files: puppet masks and split lists."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from stad_data.synthetic.films import Film

# The text of a MATLAB file's header; scipy's own holds the date.
_HEADER = b"MATLAB 5.0 MAT-file, written by stad-data".ljust(116)


def mask_path(root: Path, film: Film) -> Path:
    """Where the puppet mask of a film belongs."""
    return root / "puppet_mask" / str(film.label) / film.name / "puppet_mask.mat"


def write_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    """Write `part_mask` [H,W,T] in {0,1}; the same mask gives the same bytes."""
    content = io.BytesIO()
    savemat(content, {"part_mask": mask}, do_compression=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_HEADER + content.getvalue()[len(_HEADER) :])


def write(root: Path, films: Sequence[Film]) -> None:
    """Write the lists of split 1; the official ones name `.avi` files whatever the videos are."""
    (root / "splits").mkdir(parents=True)
    for label in sorted({str(film.label) for film in films}):
        lines = [
            f"{film.name}.avi {1 if film.part == 'train' else 2}\n"
            for film in films
            if film.label == label
        ]
        path = root / "splits" / f"{label}_test_split1.txt"
        path.write_bytes("".join(sorted(lines)).encode())
