"""`stad data flow` and `stad data shard`: what is computed once from the videos of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stad_cli.dataset_names import DatasetName

if TYPE_CHECKING:
    from stad_data import VideoAnnotation

Form = Annotated[DatasetName, typer.Option(help="Layout of the folder.", show_default=False)]
Root = Annotated[Path, typer.Option(help="The dataset's folder.", show_default=False)]
Out = Annotated[Path, typer.Option(help="Folder to fill.", show_default=False)]
Size = Annotated[
    tuple[int, int] | None,
    typer.Option(metavar="WIDTH HEIGHT", help="Make frames this size; else their own."),
]
Split = Annotated[int, typer.Option(min=1, help="Which split, where there are several.")]
Part = Annotated[Literal["all", "train", "test"], typer.Option(help="Which videos.")]
Missing = Annotated[
    Literal["refuse", "skip"],
    typer.Option(help="What to do about annotated videos without a file."),
]
Labels = Annotated[Path | None, typer.Option(help="Label map of an AVA or MultiSports CSV.")]
FirstSecond = Annotated[float, typer.Option(help="Second at which AVA's videos begin.")]
Workers = Annotated[int, typer.Option(min=1, help="Videos or shards at a time.")]


def compute_flow(  # noqa: PLR0913 - every option of the command line is an argument
    dataset: Form,
    root: Root,
    out: Out,
    method: Annotated[
        Literal["dis", "tvl1"], typer.Option(help="DIS, or TV-L1, some eighty times slower.")
    ] = "dis",
    size: Size = None,
    workers: Workers = 2,
    split: Split = 1,
    part: Part = "all",
    missing: Missing = "refuse",
    labels: Labels = None,
    first_second: FirstSecond = 900.0,
) -> None:
    """Compute the optical flow of every video, as a second modality.

    OUT/<video>.flow holds a video's flow, checked by its video and by checksums. What is there
    already and whole is kept: the same command goes on where it was broken off.
    """
    from stad_cli.progress import progress
    from stad_data.flow import FlowSettings, opencv
    from stad_data.flow_cache import fill

    settings = FlowSettings(method=method, size=size)
    opencv()
    videos = chosen_videos(dataset, root, split, part, missing, labels, first_second)
    with progress("computing flow", frames_of(videos)) as seen:
        filled = fill(videos, out, settings, workers=workers, seen=seen)
    typer.echo(f"{out}: {filled.computed:,} videos computed, {filled.kept:,} kept")


def write_shards(  # noqa: PLR0913 - every option of the command line is an argument
    dataset: Form,
    root: Root,
    out: Out,
    size: Size = None,
    short_side: Annotated[
        int | None, typer.Option(min=1, help="Or: scale the shorter side down to this.")
    ] = None,
    quality: Annotated[
        int, typer.Option(min=2, max=31, help="Of the JPEG images: 2 is best, 31 smallest.")
    ] = 3,
    shard_frames: Annotated[
        int, typer.Option(min=1, help="Most frames in a shard: bounds its size.")
    ] = 4096,
    sample_frames: Annotated[int, typer.Option(min=1, help="Most frames in a sample.")] = 64,
    workers: Workers = 2,
    split: Split = 1,
    part: Part = "all",
    missing: Missing = "refuse",
    labels: Labels = None,
    first_second: FirstSecond = 900.0,
) -> None:
    """Decode every video once into tar files of JPEG images, as webdataset reads them.

    For cluster file systems, which like few large files. OUT/frames.index tells where every frame
    lies, so that clips are read without unpacking. What is there already and whole is kept.
    """
    from stad_cli.progress import progress
    from stad_data.shards import ShardSettings, fill

    settings = ShardSettings(
        size=size,
        short_side=short_side,
        quality=quality,
        frames_per_shard=shard_frames,
        frames_per_sample=sample_frames,
    )
    videos = chosen_videos(dataset, root, split, part, missing, labels, first_second)
    with progress("writing shards", frames_of(videos)) as seen:
        made = fill(videos, out, settings, workers=workers, seen=seen)
    shards = sorted(out.glob("shard-*.tar"))
    mib = sum(path.stat().st_size for path in shards) / 2**20
    typer.echo(
        f"{out}: {len(videos):,} videos, {frames_of(videos):,} frames in {len(shards):,} shards "
        f"({mib:,.1f} MiB), {made:,} of them new"
    )


def chosen_videos(
    dataset: DatasetName,
    root: Path,
    split: int,
    part: Literal["all", "train", "test"],
    missing: Literal["refuse", "skip"],
    labels: Path | None,
    first_second: float,
) -> "tuple[VideoAnnotation, ...]":
    """The videos of a dataset, or of one of its parts.

    Raises:
        InputError: No such folder, one of another layout, or no video in it.
    """
    from stad_cli import dataset_forms
    from stad_eval import InputError

    if not root.exists():
        raise InputError("no such data folder", path=root, remedy="name it by --root")
    reading = dataset_forms.Reading(
        split=split, missing=missing, label_map=labels, first_second=first_second
    )
    found = dataset_forms.read(dataset, root, reading)
    videos = {"all": (*found.train, *found.test), "train": found.train, "test": found.test}[part]
    if not videos:
        raise InputError("there is no video", path=root, expected=f"videos of the part {part!r}")
    return videos


def frames_of(videos: "tuple[VideoAnnotation, ...]") -> int:
    """All frames of some videos."""
    return sum(video.num_frames for video in videos)
