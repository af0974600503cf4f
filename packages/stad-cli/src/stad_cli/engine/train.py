"""Training: from a recipe and a data folder to a run folder."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine import checkpoint, loop
from stad_cli.engine.data import dataset_of, frame_caches, part_of, training_batches
from stad_cli.engine.detector import build_detector
from stad_cli.engine.distributed import Device, Processes, processes
from stad_cli.engine.evaluate import Evaluation, evaluate
from stad_cli.engine.methods import Method, build_method
from stad_cli.engine.optimisation import Optimisation
from stad_cli.engine.randomness import random_state, reproducible, restore_random_state
from stad_cli.engine.run_folder import RunFolder
from stad_cli.engine.run_log import RunLog
from stad_cli.progress import progress
from stad_data import Dataset
from stad_data.clips import FrameSource
from stad_data.sampling import keyframe_samples
from stad_eval import InputError, detections_json

Say = Callable[[str], None]


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainOutcome:
    """What a run ended with.

    Attributes:
        run: The run folder.
        best: The checkpoint that scored best among the evaluations of this run.
        last: The newest checkpoint.
        steps: Updates done.
        seconds: Time of the whole run, over all resumed parts.
        evaluation: All annotated frames of the recipe's part, with the weights of the end.
        leads: Whether this process is the one to report (of several started by torchrun).
    """

    run: Path
    best: Path
    last: Path
    steps: int
    seconds: float
    evaluation: Evaluation
    leads: bool

    def to_plain(self) -> dict[str, Any]:
        """For a program to read: paths as text, metrics as fractions."""
        return {
            "run": str(self.run),
            "best": str(self.best),
            "last": str(self.last),
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "part": self.evaluation.part,
            **self.evaluation.metrics(),
        }


def train(
    recipe: Recipe,
    *,
    data: Path,
    out: Path,
    resume: bool = False,
    weights: Path | None = None,
    device: Device = "auto",
    say: Say = _silent,
    quiet: bool = True,
) -> TrainOutcome:
    """Train a recipe's network, evaluate it, and keep everything in a run folder.

    Under torchrun every process calls this; rank 0 alone writes and speaks. With the same recipe
    and seed a run on the CPU gives the same weights, bit for bit, also when it was killed at any
    moment and resumed.

    Args:
        recipe: From `load_recipe`.
        data: The dataset's folder.
        out: The run folder; it must be empty or missing, unless `resume`.
        resume: Go on from `out`'s newest checkpoint, or begin where there is none yet.
        weights: A checkpoint of the same model and classes to begin with.
        device: "auto" takes CUDA where it is usable.
        say: Told one line at a time what happens.
        quiet: Show no progress.

    Raises:
        InputError: Whatever the user has to mend; nothing was overwritten.
        OSError: A file cannot be written; the checkpoint before it is whole.
    """
    with processes(device) as group:
        folder = RunFolder(out)
        folder.claim(resume=resume)
        group.barrier()  # nobody writes before everybody has looked
        with reproducible(seed=recipe.run.seed, threads=recipe.run.threads, group=group):
            run = _Run(recipe, data, folder, group, say=say if group.leads else _silent)
            run.quiet = quiet or not group.leads
            run.load(resume=resume, weights=weights)
            return run.train()


class _Run:
    """One training run of one process."""

    def __init__(
        self, recipe: Recipe, data: Path, folder: RunFolder, group: Processes, *, say: Say
    ) -> None:
        self.recipe, self.folder, self.group, self.say = recipe, folder, group, say
        self.quiet = True
        self.dataset: Dataset = dataset_of(recipe, data)
        part_of(self.dataset, recipe.eval.part)
        self.model: nn.Module = build_detector(recipe.model, recipe.clip, self.dataset.classes)
        self.model.to(group.device)
        self.method: Method
        self.optimisation: Optimisation
        self.window = loop.LossWindow()
        self.log: RunLog | None = None
        self.caches: dict[str, FrameSource] = {}
        self.step = 0
        self.best: float | None = None
        self.metrics: dict[str, float] = {}
        self.seconds_before = 0.0
        self.start = time.monotonic()

    def load(self, *, resume: bool, weights: Path | None) -> None:
        """Bring network, method and optimiser into the state that the run starts from."""
        recipe, group, last = self.recipe, self.group, self.folder.last
        state = checkpoint.load(last) if resume and last.exists() else None
        if state is None and weights is not None:
            self._begin_with(weights)
        self.method = build_method(recipe, self.model, group)
        self.optimisation = Optimisation(recipe.optim, self.model, group.device)
        if group.leads:
            self.folder.prepare(recipe)
        group.barrier()
        if state is not None:
            self._restore(state)
        elif resume:
            self.say("nothing to resume yet: starting at step 0")

    def _begin_with(self, weights: Path) -> None:
        state = checkpoint.load(weights)
        checkpoint.require_same(state, self.recipe, self.dataset.classes, path=weights)
        checkpoint.fill(self.model, state["model"], path=weights)

    def _restore(self, state: dict[str, Any]) -> None:
        path, training = self.folder.last, state.get("training")
        checkpoint.require_same(state, self.recipe, self.dataset.classes, path=path)
        if training is None:
            raise InputError(
                "this checkpoint is for inference: training cannot go on from it", path=path
            )
        if training["ranks"] != self.group.ranks:
            raise InputError(
                "the run was trained by another number of processes",
                path=path,
                expected=f"{training['ranks']}",
                found=f"{self.group.ranks}",
                remedy="resume with the same number, or begin anew with --weights",
            )
        checkpoint.fill(self.model, training["network"], path=path)
        self.method.load_state_dict(training["method"])
        self.optimisation.load_state_dict(training["optimisation"])
        self.window.load_state_dict(training["window"], self.group.device)
        self.step, self.metrics = int(state["step"]), dict(state["metrics"])
        self.best, self.seconds_before = training["best"], float(training["seconds"])
        restore_random_state(training["random"][self.group.rank], self.group.device)
        self.say(f"resumed at step {self.step} of {self.recipe.optim.steps}")

    def train(self) -> TrainOutcome:
        """Train to the last step, evaluate in full, and give the outcome."""
        recipe, group = self.recipe, self.group
        self.caches = self._decode()
        batches = training_batches(
            recipe,
            self.dataset,
            group,
            start=self.step * recipe.optim.accumulate,
            caches=self.caches,
        )
        self.log = RunLog(self.folder.path, step=self.step) if group.leads else None
        try:
            self._loop(batches)
            evaluation = self._final()
        finally:
            if self.log is not None:
                self.log.close()
        return TrainOutcome(
            run=self.folder.path,
            best=self.folder.best,
            last=self.folder.last,
            steps=recipe.optim.steps,
            seconds=self._seconds(),
            evaluation=evaluation,
            leads=self.group.leads,
        )

    def _decode(self) -> dict[str, FrameSource]:
        """Both parts that this run looks at, decoded into memory where the recipe says so."""
        if not self.recipe.data.cache:
            return {}
        videos = {
            annotation.video: annotation
            for part in ("train", self.recipe.eval.part)
            for annotation in part_of(self.dataset, part)
        }
        with progress("decoding", len(videos), unit="videos", quiet=self.quiet) as seen:
            return frame_caches(videos.values(), self.recipe.data, seen=seen)

    def _loop(self, batches: Iterator[Any]) -> None:
        recipe = self.recipe
        left = recipe.optim.steps - self.step
        with progress("training", left, unit="steps", quiet=self.quiet) as advance:
            loop.run(
                recipe,
                self.method,
                self.optimisation,
                batches,
                self.group,
                start=self.step,
                window=self.window,
                events=loop.Events(
                    log=self._log, evaluate=self._evaluate, save=self._save, advance=advance
                ),
            )

    def _log(self, step: int, entry: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.write(step, entry)

    def _evaluate(self, step: int) -> None:
        """The in-training evaluation: perhaps on fewer frames."""
        found = {
            name: evaluate(
                model,
                self.dataset,
                self.recipe.eval.part,
                self.recipe,
                self.group,
                every_nth_frame=self.recipe.eval.every_nth_frame,
                caches=self.caches,
            )
            for name, model in self.method.evaluated().items()
        }
        first, *others = found
        numbers = found[first].metrics()
        for name in others:
            numbers |= {f"{name}/{key}": value for key, value in found[name].metrics().items()}
        self._note(step, numbers, final=False)
        self._keep_best(step, found[first])

    def _final(self) -> Evaluation:
        """All annotated frames, with the weights of the end."""
        part, steps = self.recipe.eval.part, self.recipe.optim.steps
        model = next(iter(self.method.evaluated().values()))
        videos = part_of(self.dataset, part)
        total = sum(len(annotation.keyframes) for annotation in videos)
        with progress(f"evaluating {part}", total, unit="keyframes", quiet=self.quiet) as seen:
            found = evaluate(
                model, self.dataset, part, self.recipe, self.group, caches=self.caches, seen=seen
            )
        self._note(steps, found.metrics(), final=True)
        every = self.recipe.eval.every_nth_frame
        # The best is chosen among numbers of the same frames.
        alike = found if every == 1 else found.on(keyframe_samples(videos, every=every))
        self._keep_best(steps, alike)
        if self.group.leads:
            write_detections(self.folder.detections(part), found, self.dataset)
        return found

    def _note(self, step: int, numbers: dict[str, float], *, final: bool) -> None:
        self.metrics = numbers
        entry: dict[str, Any] = {"eval": numbers, "part": self.recipe.eval.part}
        self._log(step, {**entry, "final": True} if final else entry)
        parts = ", ".join(f"{name} {100 * value:.2f} %" for name, value in numbers.items())
        self.say(f"step {step}: {self.recipe.eval.part} {parts}")

    def _keep_best(self, step: int, evaluation: Evaluation) -> None:
        score = evaluation.metrics()["frame_mAP"]
        score = -1.0 if math.isnan(score) else score  # no ground truth: any number is better
        if self.best is not None and score <= self.best:
            return
        self.best = score
        if self.group.leads:
            checkpoint.save(self.folder.best, {**self._about(step), "kind": "inference"})

    def _save(self, step: int) -> None:
        states = self.group.gather(random_state(self.group.device))
        if self.group.leads:
            training = {
                "network": self.model.state_dict(),
                "method": self.method.state_dict(),
                "optimisation": self.optimisation.state_dict(),
                "window": self.window.state_dict(),
                "random": states,
                "ranks": self.group.ranks,
                "best": self.best,
                "seconds": self._seconds(),
            }
            state = {**self._about(step), "kind": "training", "training": training}
            checkpoint.save(self.folder.last, state)
        self.group.barrier()

    def _about(self, step: int) -> dict[str, Any]:
        """What every checkpoint says, with the weights for inference."""
        rates = [a.fps for a in self.dataset.train if a.fps is not None]
        return {
            "step": step,
            "classes": checkpoint.classes_table(self.dataset.classes),
            "recipe": self.recipe.model_dump(exclude_none=True),
            "protocol": self.dataset.protocol,
            "fps": float(median(rates)) if rates else None,
            "model": next(iter(self.method.evaluated().values())).state_dict(),
            "metrics": self.metrics,
        }

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.start


def write_detections(path: Path, evaluation: Evaluation, dataset: Dataset) -> None:
    """Write what was found as stad-eval's JSON of detections, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    videos = part_of(dataset, evaluation.part)
    sizes = {annotation.video: annotation.size for annotation in videos}
    detections_json.write(path, evaluation.found, sizes=sizes, actors=evaluation.actors)
