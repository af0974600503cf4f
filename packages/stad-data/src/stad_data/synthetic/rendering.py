"""Turn films into video files, in this process or in several."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from stad_data.synthetic import jhmdb_files, ucf24_files, youtube_vos_files
from stad_data.synthetic.films import Film, Parameters
from stad_data.synthetic.renderer import Renderer
from stad_data.video_writer import VideoWriter

# JHMDB's clips all play at this rate.
_JHMDB_FPS = 30.0


def video_path(root: Path, film: Film) -> Path:
    """Where a film's video file belongs under the dataset's root."""
    folders = {"ava": "", "jhmdb": str(film.label), "ucf24": ""}
    if film.layout == "ucf24":
        folders["ucf24"] = ucf24_files.folder(film)
    return root / film.layout / "videos" / folders[film.layout] / f"{film.name}.mp4"


def render(root: Path, film: Film, parameters: Parameters) -> None:
    """Draw one film and write its video, or its images, and its masks where the layout has them.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    scene = film.scene(parameters)
    renderer = Renderer(scene, film.look(parameters))
    if film.layout == "youtube-vos":
        youtube_vos_files.write_film(root / film.layout, film, renderer)
        return
    path = video_path(root, film)
    path.parent.mkdir(parents=True, exist_ok=True)
    fps = _JHMDB_FPS if film.layout == "jhmdb" else scene.fps
    # This preset does without x264's macroblock tree, which does not give the same bytes each time.
    interval = 2 * round(fps)
    with VideoWriter(
        path, size=scene.size, fps=fps, preset="superfast", keyframe_interval=interval
    ) as video:
        for index in range(scene.num_frames):
            video.write(renderer.frame(index))
    if film.layout == "jhmdb":
        masks = [renderer.mask(0, index) for index in range(scene.num_frames)]
        mask_file = jhmdb_files.mask_path(root / film.layout, film)
        jhmdb_files.write_mask(mask_file, np.stack(masks, axis=-1))


def render_all(
    root: Path,
    films: Sequence[Film],
    parameters: Parameters,
    *,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Render all films; `progress(done, total)` is called after each.

    Further processes are started as `python -m stad_data.synthetic.worker`, so the caller's main
    module is not run again and needs no guard. Every film depends on its own random streams only,
    so the files do not depend on `workers`.

    Raises:
        OSError: The disk is full or cannot be written.
        RuntimeError: A process died.
    """
    if workers == 1:
        for done, film in enumerate(films, start=1):
            render(root, film, parameters)
            progress(done, len(films))
        return
    jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(films)):
        jobs.put(number)
    results: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    crew = [_Helper(root, parameters, jobs, results) for _ in range(min(workers, len(films)))]
    try:
        for helper in crew:
            helper.start()
        for done in range(1, len(films) + 1):
            failure = results.get()
            if failure is not None:
                raise failure
            progress(done, len(films))
    finally:
        for helper in crew:
            helper.stop()


class _Helper(threading.Thread):
    """Feeds films to one process and passes on what becomes of them."""

    def __init__(
        self,
        root: Path,
        parameters: Parameters,
        jobs: queue.SimpleQueue[int],
        results: queue.SimpleQueue[Exception | None],
    ) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._parameters = parameters
        self._jobs = jobs
        self._results = results
        self._stopped = False
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> None:
        """Work until no film is left."""
        with tempfile.TemporaryFile() as complaints:
            try:
                self._serve(complaints.fileno())
            except BrokenPipeError:
                self._report(_death(complaints.fileno()))
            except Exception as error:
                self._report(error)

    def stop(self) -> None:
        """End the process, if it still runs."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()
            process.wait()
        if self.is_alive():
            self.join()

    def _serve(self, complaints: int) -> None:
        package_folder = Path(__file__).resolve().parents[2]
        paths = [str(package_folder), *filter(None, sys.path)]
        with subprocess.Popen(
            [sys.executable, "-m", "stad_data.synthetic.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        ) as process:
            self._process = process
            if self._stopped:
                process.kill()
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("a process that renders videos has no pipes")
            task = {"root": str(self._root), "parameters": self._parameters.to_json()}
            process.stdin.write(json.dumps(task) + "\n")
            while not self._stopped:
                try:
                    number = self._jobs.get_nowait()
                except queue.Empty:
                    break
                process.stdin.write(f"{number}\n")
                process.stdin.flush()
                line = process.stdout.readline()
                failure = _failure(line) if line else _death(complaints)
                self._report(failure)
                if failure is not None:
                    break

    def _report(self, failure: Exception | None) -> None:
        if not self._stopped:
            self._results.put(failure)


def _failure(line: str) -> OSError | None:
    """None for a film that is done, else what went wrong."""
    answer = json.loads(line)
    if answer["done"]:
        return None
    return OSError(answer["errno"], answer["strerror"], answer["filename"])


def _death(complaints: int) -> RuntimeError:
    """A process that ended without an answer, with the end of what it said."""
    size = os.fstat(complaints).st_size
    tail = os.pread(complaints, 2000, max(size - 2000, 0)).decode(errors="replace").strip()
    return RuntimeError(f"a process that renders videos died: {tail or 'it was killed'}")
