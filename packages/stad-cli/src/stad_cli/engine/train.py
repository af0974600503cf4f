"""Training: from a recipe and a data folder to a run folder."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine import checkpoint, loop
from stad_cli.engine.computation import multiplication, prepare
from stad_cli.engine.dataset import dataset_of, frame_caches, part_of
from stad_cli.engine.detector import build_detector, check_channels
from stad_cli.engine.distributed import Device, Processes, processes
from stad_cli.engine.evaluate import clips_of, evaluate, thinned
from stad_cli.engine.evaluation import Evaluation
from stad_cli.engine.mask_evaluation import MaskEvaluation
from stad_cli.engine.memory import keep_freed_memory
from stad_cli.engine.methods import Method, TrainingData, build_method
from stad_cli.engine.optimisation import Optimisation
from stad_cli.engine.public_weights import clip_trunk, is_own_checkpoint, load_public
from stad_cli.engine.randomness import random_state, reproducible, restore_random_state
from stad_cli.engine.run_folder import RunFolder
from stad_cli.engine.run_log import RunLog
from stad_cli.progress import progress
from stad_data import Dataset
from stad_data.clips import FrameSource
from stad_eval import InputError, TubeFile, detections_json, write_tubes_json

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
        metrics: Its numbers, and as "name/..." those of other networks of the method (a student).
        leads: Whether this process is the one to report (of several started by torchrun).
    """

    run: Path
    best: Path
    last: Path
    steps: int
    seconds: float
    evaluation: Evaluation | MaskEvaluation
    metrics: dict[str, float]
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
            **self.metrics,
        }


def train(  # noqa: PLR0913 - the command's options, and whom to tell
    recipe: Recipe,
    *,
    data: Path,
    out: Path,
    resume: bool = False,
    weights: Path | None = None,
    clip_weights: Path | None = None,
    device: Device = "auto",
    say: Say = _silent,
    quiet: bool = True,
    stop: Callable[[], bool] = lambda: False,
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
        weights: What to begin with: a checkpoint of the same model and classes, or public weights
            of the backbone (`stad_models.weights.load`).
        clip_weights: Public weights of the 3D trunk of a detector that has one beside its backbone.
        device: "auto" takes CUDA where it is usable.
        say: Told one line at a time what happens.
        quiet: Show no progress.
        stop: Asked after every update whether to end here. All processes must say the same.

    Raises:
        InputError: Whatever the user has to mend; nothing was overwritten.
        OSError: A file cannot be written; the checkpoint before it is whole.
        loop.Stopped: `stop` said so; the run is saved and can be resumed.
    """
    with processes(device) as group:
        folder = RunFolder(out)
        folder.claim(resume=resume)
        group.barrier()  # nobody writes before everybody has looked
        if group.device.type == "cpu":
            keep_freed_memory()
        with (
            reproducible(seed=recipe.run.seed, threads=recipe.run.threads, group=group),
            multiplication(tf32=recipe.optim.tf32),
        ):
            run = _Run(recipe, data, folder, group, say=say if group.leads else _silent)
            run.quiet = quiet or not group.leads
            run.stop = stop
            run.load(resume=resume, weights=weights, clip_weights=clip_weights)
            return run.train()


class _Run:
    """One training run of one process."""

    def __init__(
        self, recipe: Recipe, data: Path, folder: RunFolder, group: Processes, *, say: Say
    ) -> None:
        self.recipe, self.folder, self.group, self.say = recipe, folder, group, say
        self.quiet = True
        self.stop: Callable[[], bool] = lambda: False
        self.root = data
        self.dataset: Dataset = dataset_of(recipe, data)
        part_of(self.dataset, recipe.eval.part)
        self.model: nn.Module = build_detector(recipe.model, recipe.clip, self.dataset.classes)
        check_channels(self.model, recipe)
        self.model = prepare(self.model.to(group.device), recipe, group)
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

    def load(self, *, resume: bool, weights: Path | None, clip_weights: Path | None = None) -> None:
        """Bring network, method and optimiser into the state that the run starts from."""
        recipe, group, last = self.recipe, self.group, self.folder.last
        state = checkpoint.load(last) if resume and last.exists() else None
        if state is None and weights is not None:
            self._begin_with(weights)
        if state is None and clip_weights is not None:
            self.say(str(load_public(clip_trunk(self.model), clip_weights)))
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
        if not is_own_checkpoint(weights):
            self.say(str(load_public(self.model, weights)))
            return
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
        drawn_from = TrainingData(
            recipe=recipe, dataset=self.dataset, root=self.root, group=group, caches=self.caches
        )
        batches = self.method.batches(drawn_from, start=self.step * recipe.optim.accumulate)
        self.log = RunLog(self.folder.path, step=self.step) if group.leads else None
        try:
            self._loop(batches)
            found = self._final()
        finally:
            if self.log is not None:
                self.log.close()
        return TrainOutcome(
            run=self.folder.path,
            best=self.folder.best,
            last=self.folder.last,
            steps=recipe.optim.steps,
            seconds=self._seconds(),
            evaluation=next(iter(found.values())),
            metrics=_numbers(found),
            leads=self.group.leads,
        )

    def _decode(self) -> dict[str, FrameSource]:
        """Both parts that this run looks at, decoded into memory where the recipe says so."""
        if not self.recipe.data.cache:
            return frame_caches((), self.recipe.data)
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
                    log=self._log,
                    evaluate=self._evaluate,
                    save=self._save,
                    advance=advance,
                    stop=self.stop,
                ),
            )

    def _log(self, step: int, entry: dict[str, Any]) -> None:
        if self.log is not None:
            self.log.write(step, entry)

    def _evaluate(self, step: int) -> None:
        """The in-training evaluation: perhaps on fewer frames."""
        found = self._evaluations(thin=True)
        self._note(step, _numbers(found), final=False)
        self._keep_best(step, next(iter(found.values())))

    def _final(self) -> "dict[str, Evaluation | MaskEvaluation]":
        """All annotated frames, with the weights of the end; the first is the one to keep."""
        part, steps = self.recipe.eval.part, self.recipe.optim.steps
        clips = clips_of(self.recipe, part_of(self.dataset, part))
        total = clips * len(self.method.evaluated())
        with progress(f"evaluating {part}", total, unit="clips", quiet=self.quiet) as seen:
            found = self._evaluations(seen=seen, masks=self.folder.masks(part))
        self._note(steps, _numbers(found), final=True)
        first = next(iter(found.values()))
        # The best is chosen among numbers of the same frames.
        self._keep_best(steps, thinned(first, self.dataset, self.recipe))
        if self.group.leads and isinstance(first, Evaluation):
            write_detections(self.folder, first, self.dataset)
        return found

    def _evaluations(
        self,
        *,
        thin: bool = False,
        seen: Callable[[int], None] = lambda _: None,
        masks: Path | None = None,
    ) -> "dict[str, Evaluation | MaskEvaluation]":
        """Every network that the method wants looked at; the first one's masks are written."""
        return {
            name: evaluate(
                model,
                self.dataset,
                self.recipe.eval.part,
                self.recipe,
                self.group,
                thin=thin,
                caches=self.caches,
                masks=None if number else masks,
                seen=seen,
            )
            for number, (name, model) in enumerate(self.method.evaluated().items())
        }

    def _note(self, step: int, numbers: dict[str, float], *, final: bool) -> None:
        self.metrics = numbers
        entry: dict[str, Any] = {"eval": numbers, "part": self.recipe.eval.part}
        self._log(step, {**entry, "final": True} if final else entry)
        parts = ", ".join(f"{name} {100 * value:.2f} %" for name, value in numbers.items())
        self.say(f"step {step}: {self.recipe.eval.part} {parts}")

    def _keep_best(self, step: int, evaluation: Evaluation | MaskEvaluation) -> None:
        score = evaluation.score
        unknown = math.isnan(score)
        score = -1.0 if unknown else score  # no ground truth: any number is better
        # Where nothing can be scored, the newest weights are kept.
        if self.best is not None and (score < self.best or (score == self.best and not unknown)):
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


def _numbers(found: Mapping[str, Evaluation | MaskEvaluation]) -> dict[str, float]:
    """Metrics of the first network by their names, of the others with these before them."""
    first, *others = found
    numbers = found[first].metrics()
    for name in others:
        numbers |= {f"{name}/{key}": value for key, value in found[name].metrics().items()}
    return numbers


def write_detections(folder: RunFolder, evaluation: Evaluation, dataset: Dataset) -> None:
    """Write what was found as stad-eval's JSON of detections and of tubes, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    path = folder.detections(evaluation.part)
    path.parent.mkdir(parents=True, exist_ok=True)
    videos = part_of(dataset, evaluation.part)
    sizes = {annotation.video: annotation.size for annotation in videos}
    detections_json.write(path, evaluation.found, sizes=sizes, actors=evaluation.actors)
    if evaluation.tubes is not None:
        counts = {annotation.video: annotation.num_frames for annotation in videos}
        content = TubeFile(tubes=evaluation.tubes, frame_counts=counts, sizes=sizes)
        write_tubes_json(folder.tubes(evaluation.part), content)
