"""`stad detect`: actors and actions in video files."""

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stad_cli.detection_settings import VideoSummary

EXAMPLE = "Example:  stad detect street.mp4 --checkpoint runs/demo/checkpoints/best.pt --out found"


class DeviceName(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def detect(  # noqa: PLR0913 - the options of a command
    videos: Annotated[list[Path], typer.Argument(help="Video files, of any size and frame rate.")],
    checkpoint: Annotated[
        Path, typer.Option(help="A trained model: RUN/checkpoints/best.pt, or the folder RUN.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("detections"),
    device: Annotated[DeviceName, typer.Option(help="Where to compute.")] = DeviceName.AUTO,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="Frames between keyframes. [default: about 4 keyframes a second]"),
    ] = None,
    window: Annotated[
        float,
        typer.Option(
            min=0.5, help="Seconds of video that a detector of tubes sees at a time; tubes go on."
        ),
    ] = 8.0,
    batch: Annotated[int, typer.Option(min=1, help="Clips per pass through the model.")] = 4,
    min_score: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Lowest score of an action that is drawn and counted; the JSON holds all.",
        ),
    ] = 0.25,
    overlay: Annotated[
        bool, typer.Option(help="Write the video with boxes and actions drawn on it.")
    ] = True,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Compile the network first: for long videos, or many."),
    ] = False,
    until_damage: Annotated[
        bool,
        typer.Option("--until-damage", help="Use the frames before the damage of a damaged file."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON instead of a table.")
    ] = False,
) -> None:
    """Find actors and their actions in videos.

    Writes OUT/NAME.json (boxes and action scores at keyframes, or action tubes, whichever the
    detector gives) and OUT/NAME.mp4 (the video with them drawn on it, of the same size and timing;
    sound is not copied).
    """
    from stad_cli.detection_settings import DetectionSettings
    from stad_cli.progress import progress
    from stad_cli.scoring import checkpoint_path
    from stad_cli.trained_detector import load_detector
    from stad_cli.video_detection import detect_video
    from stad_eval import InputError

    names = output_names(videos)
    detector = load_detector(checkpoint_path(checkpoint), device.value, compiled=compiled)
    _prepare(out, videos, names if overlay else ())
    settings = DetectionSettings(
        every=stride,
        window=window,
        batch=batch,
        least=min_score,
        on_damage="stop" if until_damage else "raise",
    )
    done: list[VideoSummary] = []
    for video, name in zip(videos, names, strict=True):
        try:
            with progress(video.name, expected_frames(video), quiet=as_json) as advance:
                summary = detect_video(
                    video,
                    detector,
                    settings,
                    detections=out / f"{name}.json",
                    overlay=out / f"{name}.mp4" if overlay else None,
                    advance=advance,
                )
        except InputError as error:
            # The other videos are no worse for this one.
            sys.stderr.write(f"stad: {error}\n")
        else:
            done.append(summary)
    if as_json:
        typer.echo(json.dumps([_as_json(summary) for summary in done], indent=1))
    elif done:
        print_table(done)
    if len(done) < len(videos):
        if len(videos) > 1:
            sys.stderr.write(f"stad: {len(done)} of {len(videos)} videos done, the others not\n")
        raise typer.Exit(2)


def output_names(videos: Sequence[Path]) -> list[str]:
    """One file name per video, without an ending: its own, numbered where two have the same."""
    taken = {video.stem for video in videos}
    given: set[str] = set()
    names: list[str] = []
    for video in videos:
        name, number = video.stem, 2
        while name in given or (name != video.stem and name in taken):
            name, number = f"{video.stem}-{number}", number + 1
        given.add(name)
        names.append(name)
    return names


def expected_frames(video: Path) -> int | None:
    """How many frames a file says it has; for the progress bar only, since files can be wrong."""
    import av

    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            if stream.frames:
                return stream.frames
            if container.duration and stream.average_rate:
                return round(container.duration / av.time_base * stream.average_rate)
    except (OSError, ValueError, IndexError):
        return None
    return None


def _prepare(out: Path, videos: Sequence[Path], names: Sequence[str]) -> None:
    from stad_eval import InputError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "the results cannot be written here",
            path=out,
            expected="a folder that exists or can be made",
            found=error.strerror,
            remedy="choose another --out",
        ) from error
    inputs = {video.resolve() for video in videos}
    for name in names:
        target = out / f"{name}.mp4"
        if target.resolve() in inputs:
            raise InputError(
                "the overlay would replace a video that is to be read",
                path=target,
                remedy="choose another --out",
            )


def _as_json(summary: "VideoSummary") -> dict[str, object]:
    return {
        "video": str(summary.video),
        "frames": summary.frames,
        "fps": round(summary.fps, 6),
        "size": summary.size,
        "keyframes": summary.keyframes,
        "actors": summary.actors,
        "actions": summary.actions,
        "detections": str(summary.detections),
        "overlay": None if summary.overlay is None else str(summary.overlay),
        "seconds": round(summary.seconds, 3),
    }


def print_table(summaries: Sequence["VideoSummary"]) -> None:
    """The summary as a table, and where the results are."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("video", overflow="fold")
    for column in ("frames", "keyframes", "actors"):
        table.add_column(column, justify="right")
    table.add_column("most frequent actions")
    table.add_column("seconds", justify="right")
    table.add_column("frames/s", justify="right")
    for summary in summaries:
        table.add_row(
            summary.video.name,
            str(summary.frames),
            str(summary.keyframes),
            str(summary.actors),
            ", ".join(list(summary.actions)[:3]) or "-",
            f"{summary.seconds:.1f}",
            f"{summary.frames / max(summary.seconds, 1e-9):.1f}",
        )
    console = Console()
    if not console.is_terminal:
        console.width = 110
    console.print(table)
    for summary in summaries:
        shown = summary.detections if summary.overlay is None else summary.overlay
        typer.echo(f"{summary.video.name}: {shown}")
