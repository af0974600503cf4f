"""The whole road on synthetic data: make it, train on it, score, detect, report."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from stad_cli.config import Recipe, load_recipe
from stad_cli.detection_settings import DetectionSettings, VideoSummary
from stad_cli.engine import checkpoint
from stad_cli.engine.dataset import dataset_of
from stad_cli.engine.distributed import Device
from stad_cli.engine.run_folder import RunFolder
from stad_cli.engine.train import TrainOutcome, train
from stad_cli.progress import progress
from stad_cli.run_report import write_report
from stad_cli.trained_detector import load_detector
from stad_cli.video_detection import detect_video
from stad_data.synthetic import make
from stad_eval import InputError

RECIPE = "se_stad_tiny_demo"
# What the demo's recipe was tuned on; other numbers are a matter of `stad data make`.
VIDEOS, TEST_VIDEOS = 90, 36


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """What the demo leaves.

    Attributes:
        outcome: The training, with its evaluation on the held-out videos.
        detection: One held-out video with boxes and actions drawn on it.
        report: The HTML page.
        seconds: Time of everything.
    """

    outcome: TrainOutcome
    detection: VideoSummary
    report: Path
    seconds: float


def demonstrate(
    out: Path,
    *,
    seed: int = 0,
    frame_only: bool = False,
    overrides: tuple[str, ...] = (),
    videos: int = VIDEOS,
    test_videos: int = TEST_VIDEOS,
    device: Device = "auto",
) -> Demonstration:
    """Run the demo in a folder.

    The data is made once per seed and reused. Every call trains anew, in the next free run folder;
    a run of the same recipe that was interrupted is gone on with instead.

    Args:
        out: Folder for data and runs.
        seed: Of the data and of the training.
        frame_only: Show the model the keyframe alone, repeated.
        overrides: Changes of the recipe, "section.key=value".
        videos: Training videos.
        test_videos: Held-out videos.
        device: Where to compute.

    Raises:
        InputError: A folder that holds something else, or an override that the recipe refuses.
        OSError: Something cannot be written.
    """
    start = time.monotonic()
    changes = [*overrides, f"run.seed={seed}"]
    if frame_only:
        changes.append("clip.repeat_keyframe=true")
    recipe = load_recipe(RECIPE, changes)
    usual = (videos, test_videos) == (VIDEOS, TEST_VIDEOS)
    name = f"data-{seed}" if usual else f"data-{seed}-{videos}-{test_videos}"
    data = _data(out / name, seed=seed, videos=videos, test_videos=test_videos)
    run, resume = _run_folder(out / ("frame-only" if frame_only else "run"), recipe)
    _say(f"training {recipe.model.name} for {recipe.optim.steps} steps: {run}")
    outcome = train(recipe, data=data, out=run, resume=resume, device=device, say=_say, quiet=False)
    dataset = dataset_of(recipe, data)
    page = write_report(run, data=data, dataset=dataset, evaluation=outcome.evaluation)
    detection = _detect(dataset.test[0].path, outcome.best, run / "overlay", device)
    return Demonstration(
        outcome=outcome,
        detection=detection,
        report=page,
        seconds=time.monotonic() - start,
    )


def _data(folder: Path, *, seed: int, videos: int, test_videos: int) -> Path:
    done = 0
    with progress("drawing videos", videos + test_videos, unit="videos") as advance:

        def tell(now: int, _: int) -> None:
            nonlocal done
            advance(now - done)
            done = now

        made = make(
            folder,
            seed=seed,
            videos=videos,
            test_videos=test_videos,
            layouts=("ava",),
            progress=tell,
        )
    _say(f"{made.videos} synthetic videos {'reused' if made.reused else 'made'}: {folder / 'ava'}")
    return folder / "ava"


def _run_folder(first: Path, recipe: Recipe) -> tuple[Path, bool]:
    """The folder to train in, and whether it holds an interrupted run of this recipe."""
    number = 1
    while True:
        path = first if number == 1 else first.with_name(f"{first.name}-{number}")
        if not path.exists():
            return path, False
        if _is_interrupted(RunFolder(path), recipe):
            return path, True
        number += 1


def _is_interrupted(folder: RunFolder, recipe: Recipe) -> bool:
    if folder.detections(recipe.eval.part).exists() or not folder.recipe.exists():
        return False
    try:
        if load_recipe(folder.recipe) != recipe:
            return False
        if folder.last.exists():
            checkpoint.load(folder.last)
    except InputError:
        return False
    return True


def _detect(video: Path, weights: Path, out: Path, device: Device) -> VideoSummary:
    out.mkdir(exist_ok=True)
    detector = load_detector(weights, device)
    with progress(video.name, None) as advance:
        return detect_video(
            video,
            detector,
            DetectionSettings(),
            detections=out / f"{video.stem}.json",
            overlay=out / f"{video.stem}.mp4",
            advance=advance,
        )


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
