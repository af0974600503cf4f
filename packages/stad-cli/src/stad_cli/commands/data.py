"""`stad data`: make a synthetic dataset; check, show, convert one; compute flow, write shards."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from stad_cli.commands.data_prepare import compute_flow, write_shards
from stad_cli.commands.evaluate import Part
from stad_cli.dataset_names import DatasetName

if TYPE_CHECKING:
    from stad_data.synthetic.scene import Layout

app = typer.Typer(no_args_is_help=True)
make = typer.Typer(no_args_is_help=True)
app.add_typer(make, name="make", help="Make a dataset as real files.")
app.command(
    "flow", epilog="Example:  stad data flow --dataset jhmdb --root JHMDB --out JHMDB-FLOW"
)(compute_flow)
app.command(
    "shard",
    epilog="Example:  stad data shard --dataset ava --root AVA --out AVA-SHARDS --short-side 256",
)(write_shards)

Root = Annotated[Path, typer.Argument(help="Folder of the dataset.")]
Form = Annotated[DatasetName, typer.Option(help="Layout of the folder.")]
Split = Annotated[int, typer.Option(min=1, help="Which split, where there are several.")]
Missing = Annotated[
    Literal["refuse", "skip"],
    typer.Option(help="What to do about annotated videos without a file."),
]

Labels = Annotated[Path | None, typer.Option(help="Label map of an AVA or MultiSports CSV.")]
FirstSecond = Annotated[float, typer.Option(help="Second at which AVA's videos begin.")]
Actions = Annotated[
    str, typer.Option(help="Where CVAT's actions stand: label, attribute:NAME, checkboxes.")
]
Corners = Annotated[
    Literal["half-open", "inclusive", "one-based"],
    typer.Option(
        help="Corners of the boxes in ACT's pickle, to be read or else to be written: as they are;"
        " x2, y2 the last pixels (UCF101v2-GT.pkl); so and from 1 (JHMDB-GT.pkl)."
    ),
]

SHOWN = 3
"""Places that are told of each problem without --all."""


@make.command("synthetic", epilog="Example:  stad data make synthetic SYNTHETIC --layouts ava")
def make_synthetic(  # noqa: PLR0913 - each option is a property of the data
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same data.")] = 0,
    videos: Annotated[int, typer.Option(min=1, help="Training videos per layout.")] = 90,
    test_videos: Annotated[int, typer.Option(min=1, help="Test videos per layout.")] = 36,
    layouts: Annotated[
        str, typer.Option(help="Which of ava, jhmdb, ucf24 and youtube-vos, separated by commas.")
    ] = "ava,jhmdb,ucf24",
    size: Annotated[
        tuple[int, int], typer.Option(metavar="WIDTH HEIGHT", help="Of the videos, in pixels.")
    ] = (160, 120),
    fps: Annotated[int, typer.Option(min=1, help="Frames per second.")] = 12,
    seconds: Annotated[
        tuple[float, float],
        typer.Option(metavar="SHORTEST LONGEST", help="Duration of untrimmed videos."),
    ] = (8, 14),
    workers: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 2,
) -> None:
    """Make videos of moving figures with their annotation, in the files of real datasets.

    OUT/ava, OUT/jhmdb, OUT/ucf24 and OUT/youtube-vos are what `--dataset` of that name reads. The
    actions differ by motion alone. A folder that holds this very dataset is left as it is.
    """
    from stad_cli.progress import progress
    from stad_data.synthetic import make

    chosen = chosen_layouts(layouts)
    done = 0
    with progress("drawing", len(chosen) * (videos + test_videos), unit="videos") as advance:

        def tell(now: int, _: int) -> None:
            nonlocal done
            advance(now - done)
            done = now

        make(
            out,
            seed=seed,
            videos=videos,
            test_videos=test_videos,
            size=size,
            fps=fps,
            seconds=seconds,
            layouts=chosen,
            workers=workers,
            progress=tell,
        )
    for layout in chosen:
        typer.echo(str(out / layout))


def chosen_layouts(text: str) -> "list[Layout]":
    """The layouts that the user named.

    Raises:
        InputError: None, or one that does not exist.
    """
    from stad_data.synthetic.scene import Layout
    from stad_eval import InputError

    known = get_args(Layout)
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise InputError(
            "no layout of this name" if wrong else "no layout",
            expected="some of " + ", ".join(known),
            found=", ".join(wrong) or repr(text),
        )
    return cast("list[Layout]", list(dict.fromkeys(names)))


@app.command(
    "check",
    epilog="Examples:  stad data check JHMDB --dataset jhmdb\n\n"
    "           stad data check ava_val.csv --dataset ava --labels map.pbtxt --decode nothing",
)
def check_dataset(  # noqa: PLR0913 - every option of the command line is an argument
    root: Root,
    dataset: Form,
    split: Split = 1,
    decode: Annotated[
        Literal["nothing", "ends", "everything"],
        typer.Option(help="How much of each video to try: nothing, its first and last frame, all."),
    ] = "ends",
    missing: Missing = "refuse",
    labels: Labels = None,
    first_second: FirstSecond = 900.0,
    actions: Actions = "label",
    corners: Corners = "half-open",
    show_all: Annotated[bool, typer.Option("--all", help="List every place.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for everything that is wrong with a dataset before training on it.

    Prints how much there is of each part and class, then each problem with examples and how to
    mend it. Ends with 2 where there are errors. Absent videos are an error, with --missing skip a
    warning.
    """
    from stad_cli import dataset_forms
    from stad_cli.check_report import check_json, check_text
    from stad_cli.progress import progress
    from stad_data.check import check, refused
    from stad_eval import InputError

    reading = dataset_forms.Reading(
        split=split,
        missing="keep",
        label_map=labels,
        # Absent videos tell no size; what is looked for does not hang on it.
        size=(1000, 1000),
        first_second=first_second,
        actions=actions,
        corners=corners,
    )
    if not root.exists():
        raise InputError("no such data folder", path=root, remedy="name the dataset's folder")
    try:
        found = dataset_forms.read(dataset, root, reading)
    except InputError as error:
        found, problems = None, refused(error)
    else:
        count = len(found.train) + len(found.test)
        with progress("checking", count, unit="videos", quiet=as_json) as seen:
            problems = check(found, decode=decode, missing=missing, root=root, seen=seen)
    if as_json:
        typer.echo(json.dumps(check_json(found, problems), ensure_ascii=False))
    else:
        typer.echo(check_text(found, problems, limit=None if show_all else SHOWN))
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(2)


@app.command("show", epilog="Example:  stad data show JHMDB --dataset jhmdb --out sheet.png")
def show_dataset(
    root: Root,
    dataset: Form,
    out: Annotated[Path, typer.Option(help="Image to write, .png.")] = Path("sheet.png"),
    split: Split = 1,
    part: Annotated[Part, typer.Option(help="Which videos.")] = Part.TRAIN,
    count: Annotated[int, typer.Option(min=1, help="Frames on the sheet.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Another seed shows other frames.")] = 0,
    missing: Missing = "refuse",
) -> None:
    """Draw a contact sheet of frames with their annotated boxes and actions."""
    from stad_cli.annotation_sheet import save_png, sheet
    from stad_cli.engine.dataset import open_dataset, part_of
    from stad_cli.progress import progress
    from stad_eval import InputError

    if out.suffix.lower() != ".png" or out.is_dir():
        raise InputError("the sheet is a PNG image", path=out, remedy="name it something.png")
    found = open_dataset(dataset, root, split=split, missing=missing)
    with progress("drawing", count, unit="frames") as seen:
        image = sheet(part_of(found, part.value), found.classes, count=count, seed=seed, seen=seen)
    save_png(image, out)
    typer.echo(str(out))


@app.command(
    "convert",
    epilog="Examples:  stad data convert --from jhmdb --root JHMDB --to act JHMDB-GT.pkl\n\n"
    "           stad data convert --from ucf24 --root UCF24 --part test --to boxes boxes.csv",
)
def convert_dataset(  # noqa: PLR0913 - every option of the command line is an argument
    out: Annotated[Path, typer.Argument(help="File to write; for ava a folder.")],
    source: Annotated[
        DatasetName, typer.Option("--from", help="What the dataset is.", show_default=False)
    ],
    root: Annotated[Path, typer.Option(help="Its folder, or its one file.", show_default=False)],
    to: Annotated[
        Literal["ava", "act", "coco-video", "json", "boxes"],
        typer.Option(help="What to write.", show_default=False),
    ],
    split: Split = 1,
    part: Annotated[
        Literal["all", "train", "test"], typer.Option(help="Which videos to write.")
    ] = "all",
    missing: Annotated[
        Literal["keep", "skip", "refuse"],
        typer.Option(help="What to do about annotated videos without a file."),
    ] = "keep",
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Frame size of absent videos, for normalised boxes."),
    ] = None,
    fps: Annotated[float, typer.Option(min=0.01, help="Frame rate of absent AVA videos.")] = 30.0,
    first_second: FirstSecond = 900.0,
    time: Annotated[
        Literal["second", "frame"], typer.Option(help="What AVA's second column counts.")
    ] = "second",
    labels: Labels = None,
    actions: Actions = "label",
    corners: Corners = "half-open",
) -> None:
    """Write a dataset's annotation in another form, and say what that form cannot hold.

    ava: AVA's CSV files and label map. act: ACT's pickle. coco-video: COCO's JSON by image. json:
    the project's own. boxes: CSV rows video,frame,label,instance,x1,y1,x2,y2 (frames from 0,
    half-open pixels).
    """
    from stad_cli import dataset_forms
    from stad_data.conversion import convert
    from stad_eval import InputError

    if not root.exists():
        raise InputError("no such data folder", path=root, remedy="name it by --root")
    reading = dataset_forms.Reading(
        split=split,
        missing=missing,
        label_map=labels,
        size=None if size is None else frame_size(size),
        fps=fps,
        first_second=first_second,
        time=time,
        actions=actions,
        corners=corners,
    )
    dataset = dataset_forms.read(source, root, reading)
    chosen = {"all": (*dataset.train, *dataset.test), "train": dataset.train, "test": dataset.test}
    if not chosen[part]:
        whole = "the dataset" if part == "all" else f"the {part} part of the dataset"
        raise InputError(f"{whole} has no video", path=root, expected="videos to convert")
    written = "half-open" if source == "act" else corners
    left_out = convert(dataset, out, to=to, part=part, corners=written)
    boxes = sum(annotation.num_boxes for annotation in chosen[part])
    typer.echo(f"{out}: {len(chosen[part]):,} videos, {boxes:,} boxes")
    if "act" in (source, to):
        typer.echo(f"corners of ACT's pickle: {corners} (--corners)")
    for line in left_out:
        typer.echo(f"not kept: {line}")


def frame_size(text: str) -> tuple[int, int]:
    """(width, height) of a text like 320x240.

    Raises:
        InputError: Another form.
    """
    from stad_eval import InputError

    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise InputError("a bad frame size", expected="WxH, such as 320x240", found=text)
    width, height = (int(side) for side in sides)
    if not (1 <= width <= 32768 and 1 <= height <= 32768):
        raise InputError("a bad frame size", expected="sides of 1 to 32768", found=text)
    return width, height
