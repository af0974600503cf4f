"""Exported detectors, running: graphs by torch or onnxruntime, boxes by the detector's own code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stad_cli.config import ClipSection, ModelSection
from stad_cli.engine.checkpoint import classes_of
from stad_cli.engine.detector import build_detector
from stad_cli.export.graph import Run
from stad_cli.export.graphs import join
from stad_data import ActionClasses
from stad_eval import InputError
from stad_models.structures import Prediction

FORMAT = "stad-export"
VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedDetector:
    """A detector whose networks are files.

    Attributes:
        model: The detector's own code around the graphs.
        classes: What it tells apart.
        shape: (channels, T, H, W) of clips.
        clip: Frames of a clip and frames between them.
    """

    model: nn.Module
    classes: ActionClasses
    shape: tuple[int, int, int, int]
    clip: ClipSection

    def __call__(self, clips: Tensor) -> list[Prediction]:
        """Predictions of clips `[N, C, T, H, W]`, float32 on the CPU, normalised; one per clip.

        Raises:
            InputError: Clips of another shape than the graphs were made for.
        """
        if clips.ndim != 5 or tuple(clips.shape[1:]) != self.shape:
            raise InputError(
                "these clips are not of the exported form",
                expected=f"[N, {', '.join(map(str, self.shape))}]",
                found=str(list(clips.shape)),
                remedy="resize them, or export again with --size",
            )
        with torch.no_grad():
            return self.model(clips)


def load_exported(
    folder: Path | str, form: str = "onnx", *, trust: bool = False
) -> ExportedDetector:
    """Open what `stad export` wrote.

    Args:
        folder: Holds `export.json`.
        form: "onnx", run by onnxruntime on the CPU, or "pt2", run by torch.
        trust: Needed for "pt2": torch.export's files may run code when they are opened. Say so
            only of files that you, or somebody you trust, exported.

    Raises:
        InputError: No export, one of another version, a missing graph or package, or a .pt2 file
            that is not trusted.
    """
    folder = Path(folder)
    about = _about(folder)
    if form == "pt2" and not trust:
        raise InputError(
            "a .pt2 file may run code when it is opened",
            path=folder,
            remedy='open your own exports with trust=True, and others in the form "onnx"',
        )
    if form not in about["forms"]:
        raise InputError(
            f"this export has no {form} graphs",
            path=folder,
            expected=f"one of {', '.join(about['forms'])}",
        )
    section = ModelSection.model_validate(about["model"])
    clip = ClipSection.model_validate(about["clip"])
    classes = classes_of(about)
    shape = cast("tuple[int, int, int, int]", tuple(about["shape"]))
    with torch.device("meta"):
        model = build_detector(section, clip, classes).eval()
    runs = {
        name: open_graph(graph_path(folder, name, form), form, graph["inputs"], graph["outputs"])
        for name, graph in about["graphs"].items()
    }
    return ExportedDetector(model=join(model, runs, shape), classes=classes, shape=shape, clip=clip)


def graph_path(folder: Path, name: str, form: str) -> Path:
    """The file of a graph."""
    return folder / f"{name}.{form}"


def open_graph(
    path: Path, form: str, inputs: tuple[str, ...] | list[str], outputs: tuple[str, ...] | list[str]
) -> Run:
    """A graph's file, ready to run on CPU tensors.

    Raises:
        InputError: No such file, a damaged one, or onnxruntime is missing.
    """
    if not path.is_file():
        raise InputError("a graph of this export is missing", path=path, remedy="export it again")
    return _open_onnx(path, inputs, outputs) if form == "onnx" else _open_pt2(path, outputs)


def _open_pt2(path: Path, outputs: tuple[str, ...] | list[str]) -> Run:
    import torchvision  # noqa: F401  # pyright: ignore[reportUnusedImport] - RoIAlign is its operator

    try:
        network = torch.export.load(path).module()
    except Exception as error:
        # A damaged archive fails in many ways, none of which the reader names.
        raise InputError(
            "this graph cannot be read",
            path=path,
            found=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}",
            remedy="export it again, with this version of torch",
        ) from error

    def run(*tensors: Tensor) -> Mapping[str, Tensor]:
        return dict(zip(outputs, network(*tensors), strict=True))

    return run


def _open_onnx(
    path: Path, inputs: tuple[str, ...] | list[str], outputs: tuple[str, ...] | list[str]
) -> Run:
    try:
        import onnxruntime  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "onnxruntime is not installed", remedy="pip install 'stad-cli[export]'"
        ) from None
    try:
        session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InputError(
            "this graph cannot be read",
            path=path,
            found=(str(error).splitlines() or [type(error).__name__])[0][:200],
            remedy="export it again",
        ) from error
    # Inputs that a graph does not use are not in its file.
    used = {one.name for one in session.get_inputs()}

    def run(*tensors: Tensor) -> Mapping[str, Tensor]:
        fed = {
            name: x.detach().contiguous().numpy()
            for name, x in zip(inputs, tensors, strict=True)
            if name in used
        }
        found = session.run(list(outputs), fed)
        return {name: torch.from_numpy(x) for name, x in zip(outputs, found, strict=True)}

    return run


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "export.json"
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "this folder is no export", path=folder, expected="one that `stad export` wrote"
        ) from None
    except ValueError as error:
        raise InputError("this file is no JSON", path=path, found=str(error)) from None
    about = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    if (about.get("format"), about.get("version")) != (FORMAT, VERSION):
        raise InputError(
            "this is no export of this version",
            path=path,
            expected=f"format {FORMAT}, version {VERSION}",
            found=f"{about.get('format')!r}, {about.get('version')!r}",
            remedy="export it again",
        )
    return about
