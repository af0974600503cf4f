"""Which frames go into which shard, under which names; see `shards`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from stad_data.annotation import VideoAnnotation
from stad_data.video_image_files import BEST_QUALITY, WORST_QUALITY
from stad_eval import InputError


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """What decides the shards of given videos.

    Attributes:
        size: (width, height) of the images; the videos' own where None.
        short_side: Or: pixels that the shorter side is scaled down to.
        quality: FFmpeg's scale of JPEG, 2 (best) to 31 (smallest).
        frames_per_shard: Most frames in a shard: its size is bounded by them.
        frames_per_sample: Most frames in a sample.

    Raises:
        InputError: A size and a short side, or a number out of range.
    """

    size: tuple[int, int] | None = None
    short_side: int | None = None
    quality: int = 3
    frames_per_shard: int = 4096
    frames_per_sample: int = 64

    def __post_init__(self) -> None:
        sides = [*(self.size or ()), *([] if self.short_side is None else [self.short_side])]
        numbers = (*sides, self.frames_per_sample, self.frames_per_shard)
        if min(numbers) < 1 or len(sides) > 2 or not BEST_QUALITY <= self.quality <= WORST_QUALITY:
            raise InputError(
                "shards cannot be made like this",
                expected="a size or a short side or neither, numbers of at least 1, quality 2..31",
                found=repr(self),
            )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Successive frames [first, stop) of one video."""

    annotation: VideoAnnotation
    first: int
    stop: int

    @property
    def key(self) -> str:
        """The beginning of its files' names."""
        return f"{self.annotation.video}/{self.first:06d}"

    @property
    def names(self) -> list[str]:
        """Its files in order: the description, then the images."""
        frames = range(self.first, self.stop)
        return [f"{self.key}.json", *(f"{self.key}.{frame:06d}.jpg" for frame in frames)]


def plan(annotations: Sequence[VideoAnnotation], settings: ShardSettings) -> list[list[Sample]]:
    """The samples of every shard, videos in the order given; a long video goes over several.

    Raises:
        InputError: No video, or a name that cannot stand in a tar file.
    """
    shards: list[list[Sample]] = []
    room = 0
    for annotation in annotations:
        _check_name(annotation)
        first = 0
        while first < annotation.num_frames:
            if not room:
                shards.append([])
                room = settings.frames_per_shard
            count = min(room, settings.frames_per_sample, annotation.num_frames - first)
            shards[-1].append(Sample(annotation=annotation, first=first, stop=first + count))
            first += count
            room -= count
    if not shards:
        raise InputError("no video to make shards of", expected="at least one")
    return shards


def _check_name(annotation: VideoAnnotation) -> None:
    parts = PurePosixPath(annotation.video).parts
    if not parts or "/" in parts or ".." in parts or "/".join(parts) != annotation.video:
        raise InputError(
            f"video {annotation.video!r} has a name that cannot stand in a tar file",
            path=annotation.path,
            expected="a relative path in its plain form",
        )
