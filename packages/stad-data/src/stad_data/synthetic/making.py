"""Make a synthetic dataset on disk, all of it or nothing."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stad_data.synthetic import ava_files, jhmdb_files, ucf24_files, youtube_vos_files
from stad_data.synthetic.films import LAYOUTS, Film, Parameters, plan
from stad_data.synthetic.rendering import render_all
from stad_data.synthetic.scene import Layout, Scene
from stad_eval import InputError

# Counts up whenever the same parameters give other files of a layout.
_VERSIONS: dict[Layout, int] = {"ava": 1, "jhmdb": 1, "ucf24": 1, "youtube-vos": 2}
_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class SyntheticSet:
    """What `make` left on disk.

    Attributes:
        root: Holds a folder per layout and `manifest.json`.
        reused: The same dataset was there already.
        videos: Number of videos, over all layouts and parts.
        frames: Number of frames, likewise.
    """

    root: Path
    reused: bool
    videos: int
    frames: int


def make(  # noqa: PLR0913 - each is a property of the data that a caller may want to change
    out: Path | str,
    *,
    seed: int = 0,
    videos: int = 90,
    test_videos: int = 36,
    size: tuple[int, int] = (160, 120),
    fps: float = 12,
    seconds: tuple[float, float] = (8, 14),
    layouts: Sequence[Layout] = LAYOUTS,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> SyntheticSet:
    """Write synthetic videos with annotations in the native layouts of public datasets.

    `out/ava`, `out/jhmdb`, `out/ucf24` and `out/youtube-vos` each hold videos of their own;
    `datasets.ava.read` and its siblings read them. The same parameters give the same annotation
    files byte for byte, on any number of workers. JHMDB's trimmed clips play at 30 frames per
    second as the originals do, whatever `fps` their motion is sampled at.

    Everything is written to a hidden folder beside `out` that is renamed at the end, so an
    interrupted run leaves nothing under `out`.

    Args:
        out: Folder to make; may exist if it is empty or holds this very dataset.
        seed: Of everything random.
        videos: Training videos per layout.
        test_videos: Test videos per layout.
        size: (width, height) in pixels, both even.
        fps: Frames per second, a whole number.
        seconds: Shortest and longest duration of untrimmed videos.
        layouts: Which of "ava", "jhmdb", "ucf24" and "youtube-vos" to write; the last one, for
            objects that are followed by their masks, only where it is named.
        workers: Processes that render, from 1.
        progress: Called as `progress(videos done, videos in all)`.

    Raises:
        InputError: A parameter out of range, or `out` is not empty and holds something else.
        OSError: The disk is full or cannot be written.
    """
    parameters = Parameters(
        seed=seed,
        videos=videos,
        test_videos=test_videos,
        size=size,
        fps=fps,
        seconds=seconds,
        layouts=tuple(layouts),
    )
    if workers < 1:
        raise InputError(
            "synthetic data cannot be made with this number of workers",
            expected="at least 1",
            found=str(workers),
        )
    out = Path(out).absolute()
    films = [(film, film.scene(parameters)) for film in plan(parameters)]
    made = SyntheticSet(
        root=out,
        reused=_is_there(out, parameters),
        videos=len(films),
        frames=sum(scene.num_frames for _, scene in films),
    )
    if made.reused:
        return made
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        building.chmod(0o755)
        _write(building, films, parameters, workers, progress or _silent)
        if out.exists():
            out.rmdir()
        building.replace(out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return made


def _write(
    root: Path,
    films: Sequence[tuple[Film, Scene]],
    parameters: Parameters,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    for layout in parameters.layouts:
        (root / layout).mkdir()
        own = [(film, scene) for film, scene in films if film.layout == layout]
        match layout:
            case "ava":
                ava_files.write(root / layout, own)
            case "jhmdb":
                jhmdb_files.write(root / layout, [film for film, _ in own])
            case "ucf24":
                ucf24_files.write(root / layout, own)
            case "youtube-vos":
                youtube_vos_files.write(root / layout, own)
    render_all(root, [film for film, _ in films], parameters, workers=workers, progress=progress)
    with (root / _MANIFEST).open("xb") as manifest:
        manifest.write(_manifest(parameters).encode())
        manifest.flush()
        os.fsync(manifest.fileno())


def world_version(layouts: Iterable[Layout]) -> int:
    """Tells a set from one of the same parameters that an earlier version of this package drew."""
    return max(_VERSIONS[layout] for layout in layouts)


def _manifest(parameters: Parameters) -> str:
    content = {
        "format": "stad-synthetic",
        "version": world_version(parameters.layouts),
        "parameters": parameters.to_json(),
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _is_there(out: Path, parameters: Parameters) -> bool:
    """Whether this very dataset is at `out`; False if nothing is."""
    if not out.exists() and not out.is_symlink():
        return False
    if out.is_dir():
        if not any(out.iterdir()):
            return False
        manifest = out / _MANIFEST
        if manifest.is_file() and manifest.read_bytes() == _manifest(parameters).encode():
            return True
    what = "a file"
    if out.is_dir():
        what = "a folder with other content"
        if (out / _MANIFEST).is_file():
            what = f"a dataset of other parameters (see {_MANIFEST})"
    raise InputError(
        "synthetic data cannot be made here",
        path=out,
        expected="no such folder, an empty one, or the same dataset",
        found=what,
        remedy="name another folder, or move this one away",
    )


def _silent(done: int, total: int) -> None:
    """No progress is wanted."""
