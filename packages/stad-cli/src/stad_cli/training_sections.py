"""[model], [optim], [eval] and [run] of a recipe: the network, and how it is trained and judged."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stad_cli.recipe_section import Count, Positive, Section, Share


class ModelSection(Section):
    """[model]: which network.

    Attributes:
        name: One of `stad_models.zoo` (`stad models list`).
        batch_norm: Whose statistics BatchNorm takes in training. "local": of each process's own
            batch. "frozen": the running ones, which stay as they are (scale and shift still learn);
            it makes several processes equal to one. "sync": of the batches of all processes, on
            CUDA.
        options: Keyword arguments of the model's builder, and fields of its options
            (`SeStadOptions`: thresholds, loss weights, score rule).
    """

    name: str
    batch_norm: Literal["local", "frozen", "sync"] = "local"
    options: dict[str, Any] = Field(default_factory=dict)


class OptimSection(Section):
    """[optim]: how weights change.

    Attributes:
        name: Update rule; Adam is AdamW whose decay is an L2 penalty.
        lr: Learning rate after warm-up.
        momentum: Of SGD.
        nesterov: Of SGD.
        betas: Of Adam and AdamW.
        weight_decay: L2 penalty (SGD, Adam), or decoupled decay (AdamW).
        decay_all: Decay biases and the parameters of normalisation layers too.
        schedule: Cosine to `lr * final`; "step": times `factor` at each of `milestones`; "plateau":
            times `factor` when the mean training loss of a period was not below the least one for
            `patience` periods.
        final: Last learning rate of the cosine, as a part of `lr`.
        milestones: Steps at which the learning rate drops.
        factor: By what it drops.
        patience: Of "plateau": periods without a better loss.
        period: Of "plateau": steps of a period, an epoch say.
        warm_up: Steps of linear warm-up.
        warm_up_from: Its first learning rate, as a part of `lr`.
        steps: Number of updates.
        batch: Clips per process and backward pass.
        accumulate: Backward passes per update. A step sees batch x accumulate x processes clips.
        clip_grad: Largest norm of the gradient; 0 clips nothing.
        amp: Automatic mixed precision: none, bf16 (CPU, CUDA) or fp16 (CUDA).
        tf32: On CUDA, multiply float32 numbers with the mantissa cut to ten bits.
        ema: Momentum of the averaged weights that are evaluated and kept as best; 0 keeps none.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)]
    momentum: Share = 0.9
    nesterov: bool = False
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    decay_all: bool = False
    schedule: Literal["cosine", "step", "plateau"] = "cosine"
    final: Share = 0.0
    milestones: tuple[Positive, ...] = ()
    factor: Share = 0.1
    patience: Positive = 5
    period: Positive | None = None
    warm_up: Count = 0
    warm_up_from: Share = 0.1
    steps: Positive
    batch: Positive
    accumulate: Positive = 1
    clip_grad: Annotated[float, Field(ge=0)] = 0.0
    amp: Literal["none", "bf16", "fp16"] = "none"
    tf32: bool = True
    ema: Share = 0.0

    @model_validator(mode="after")
    def _milestones(self) -> "OptimSection":
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError('milestones = [...] go with schedule = "step", and only with it')
        if (self.schedule == "plateau") != (self.period is not None):
            raise ValueError('period = steps goes with schedule = "plateau", and only with it')
        return self


class EvalSection(Section):
    """[eval]: what is measured, and when. The end of a run is always evaluated in full.

    Attributes:
        part: Which videos.
        every: Steps between evaluations during training; 0 evaluates only the end.
        every_nth_frame: During training, look at every n-th annotated frame only. The final
            number always counts all of them.
        every_nth_video: During training, look at every n-th video only.
        batch: Clips per forward pass.
        iou: Overlap from which a box counts as found.
        link: Form "keyframe", on densely annotated sets: link the boxes of neighbouring frames to
            tubes, whatever they do. Every box gets the geometric mean of its tube's action scores,
            and tubes are scored as well.
        min_tube: Tubes of fewer frames are left out where boxes or tubelets are linked.
        trim_penalty: Form "tubelet": cut tubes to the frames that show their action, where every
            change between action and none costs this (`stad_eval.Trimming`); None cuts nothing.
        trim_level: Score of a tubelet's action that may as well be none. Action and center
            multiply to a score, so that it is lower than either's threshold.
        trim_window: Over how many frames around each one scores are averaged first, an odd number.
        map_threshold: Value of a localisation map from which a pixel belongs to an actor.
    """

    part: Literal["train", "test"] = "test"
    every: Count = 0
    every_nth_frame: Positive = 1
    every_nth_video: Positive = 1
    batch: Positive = 8
    iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    link: bool = False
    min_tube: Positive = 15
    trim_penalty: Annotated[float, Field(ge=0)] | None = None
    trim_level: Annotated[float, Field(gt=0, lt=1)] = 0.5
    trim_window: Positive = 1
    map_threshold: Share = 0.5

    @model_validator(mode="after")
    def _trim(self) -> "EvalSection":
        if self.trim_window % 2 == 0:
            raise ValueError(f"trim_window must be odd, found {self.trim_window}")
        if self.trim_penalty is None and (self.trim_level, self.trim_window) != (0.5, 1):
            raise ValueError("trim_level and trim_window go with trim_penalty, and only with it")
        return self


class RunSection(Section):
    """[run]: what changes no result but the seed's.

    Attributes:
        seed: Root of all randomness.
        workers: Processes that load clips; 0 loads in the training process.
        threads: Threads of torch on the CPU (at most as many as there are cores).
        checkpoint_every: Steps between checkpoints.
        log_every: Steps between lines of the log.
        channels_last: Keep the channels of weights and maps innermost: faster convolutions where
            the hardware likes it.
        compile: Turn the backbone, or the whole model, into code of its own when it is first
            called (torch.compile); evaluation stays eager where averaged weights are evaluated.
    """

    seed: Count = 0
    workers: Count = 2
    threads: Positive = 2
    checkpoint_every: Positive = 500
    log_every: Positive = 20
    channels_last: bool = False
    compile: Literal["none", "backbone", "model"] = "none"
