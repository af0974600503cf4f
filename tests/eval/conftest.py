"""A short way to write tables of boxes in tests of stad-eval."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from stad_eval import Boxes

Row = tuple  # (video, frame, label, (x1, y1, x2, y2)[, score])


@pytest.fixture(scope="session")
def table() -> Callable[..., Boxes]:
    def make(
        rows: Sequence[Row],
        *,
        classes: Sequence[str] = ("walk", "run"),
        videos: Sequence[str] = ("v",),
        annotated: Sequence[tuple[str, int]] | None = None,
    ) -> Boxes:
        return Boxes(
            videos=tuple(videos),
            classes=tuple(classes),
            video=np.array([videos.index(row[0]) for row in rows], dtype=np.int64),
            frame=np.array([row[1] for row in rows], dtype=np.int64),
            label=np.array([classes.index(row[2]) for row in rows], dtype=np.int64),
            box=np.array([row[3] for row in rows], dtype=np.float64).reshape(-1, 4),
            score=np.array([row[4] if len(row) > 4 else 1.0 for row in rows]),
            annotated=None
            if annotated is None
            else np.array([(videos.index(v), f) for v, f in annotated], dtype=np.int64),
        )

    return make
