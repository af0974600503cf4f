"""From a detector to the files of its graphs, each compared with the detector as it is."""

import logging
import shutil
import tempfile
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from stad_cli.config import ClipSection, ModelSection
from stad_cli.engine.checkpoint import classes_table
from stad_cli.engine.model_input import MEAN, SPREAD
from stad_cli.export.graph import Graph, Method, Run
from stad_cli.export.graphs import cut
from stad_cli.export.running import FORMAT, VERSION, graph_path, open_graph
from stad_cli.json_file import write_json
from stad_cli.machine import describe_versions
from stad_cli.whole_file import naming
from stad_data import ActionClasses
from stad_eval import InputError

Form = Literal["pt2", "onnx"]
EXAMPLES = 2
"""Clips of the batch that graphs are traced with; another number is what they are compared on."""
OTHER = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A detector and what its graphs have to say of it.

    Attributes:
        model: With its weights, on the CPU.
        section: Its name and options.
        clip: Frames of a clip and frames between them.
        classes: What it tells apart.
        size: (width, height) of clips in pixels.
    """

    model: nn.Module
    section: ModelSection
    clip: ClipSection
    classes: ActionClasses
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        folder: Holds `export.json` and the graphs.
        files: All of it.
        differences: By file, the largest difference to the detector itself, as a part of the
            largest absolute value of each output.
    """

    folder: Path
    files: tuple[Path, ...]
    differences: dict[str, float]


def export_detector(source: Source, out: Path, forms: Sequence[Form], *, seed: int = 0) -> Exported:
    """Write a detector's graphs into a folder and compare every one with the detector itself.

    Args:
        source: The detector.
        out: Folder to make; it must be empty or missing.
        forms: "pt2" (torch.export), "onnx".
        seed: Of the random clips that graphs are traced with and compared on.

    Raises:
        InputError: A detector that cannot be cut or traced, a missing package, or a folder that
            holds something.
        OSError: Something cannot be written.
    """
    if "onnx" in forms:
        require_onnx()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "there is something at this place already", path=out, remedy="choose another --out"
        )
    model = source.model.eval()
    generator = torch.Generator().manual_seed(seed)
    shape = clip_shape(source, model)
    clips, other = (torch.randn(n, *shape, generator=generator) for n in (EXAMPLES, OTHER))
    graphs = cut(model, clips)
    programs = [_traced(graph) for graph in graphs]
    checks = {graph.name: graph for graph in cut(model, other)}
    differences: dict[str, float] = {}
    with _whole_folder(out) as building:
        for graph, program in zip(graphs, programs, strict=True):
            for form in forms:
                path = graph_path(building, graph.name, form)
                _write(program, graph, path, form)
                run = open_graph(path, form, tuple(graph.inputs), graph.outputs)
                differences[path.name] = _difference(run, checks[graph.name])
        write_json(building / "export.json", _about(source, shape, graphs, forms))
    files = (out / "export.json", *(out / name for name in differences))
    return Exported(folder=out, files=files, differences=differences)


def clip_shape(source: Source, model: nn.Module) -> tuple[int, int, int, int]:
    """(channels, T, H, W) of the clips that a detector takes."""
    width, height = source.size
    return int(getattr(model, "channels_in", 3)), source.clip.length, height, width


def require_onnx() -> None:
    """Check that what ONNX needs is installed.

    Raises:
        InputError: It is not.
    """
    import importlib.util

    missing = [
        name
        for name in ("onnx", "onnxscript", "onnxruntime")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise InputError(
            f"ONNX needs packages that are not installed: {', '.join(missing)}",
            remedy="pip install 'stad-cli[export]', or export --format pt2 alone",
        )


def _traced(graph: Graph) -> ExportedProgram:
    shapes: Any = tuple({0: Dim.DYNAMIC} for _ in graph.inputs)
    if isinstance(graph.module, Method):
        shapes = (shapes,)  # its forward takes its inputs as *inputs
    try:
        with _quiet(), torch.no_grad():
            return torch.export.export(
                graph.module.eval(), tuple(graph.inputs.values()), dynamic_shapes=shapes
            )
    except Exception as error:
        # The tracer's own exceptions have no common base; all of them mean the same to the user.
        raise InputError(
            f"the graph {graph.name} of this model cannot be traced",
            found=_reason(error),
            remedy="export a model with other heads or another backbone",
        ) from error


def _write(program: ExportedProgram, graph: Graph, path: Path, form: Form) -> None:
    with naming(path), _quiet():
        if form == "pt2":
            torch.export.save(program, path)
            return
        try:
            made = torch.onnx.export(
                program,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                verbose=False,
            )
        except RuntimeError as error:
            raise InputError(
                f"the graph {graph.name} of this model has no form in ONNX",
                found=_reason(error.__cause__ or error),
                remedy="export a model with other heads, or --format pt2 alone",
            ) from error
        if made is None:
            raise InputError("ONNX gave no program", path=path)
        made.save(path, external_data=False)


def _reason(error: BaseException) -> str:
    """The first lines of what a tracer says, in which the matter stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:3])}"[:400]


def _difference(run: Run, graph: Graph) -> float:
    """The largest difference of a running graph to the detector, relative to each output."""
    inputs = tuple(graph.inputs.values())
    with torch.no_grad():
        wanted, found = graph.module(*inputs), run(*inputs)
    return max(_relative(found[name], x) for name, x in zip(graph.outputs, wanted, strict=True))


def _relative(found: Tensor, wanted: Tensor) -> float:
    if not wanted.numel():
        return 0.0
    finite = wanted.isfinite()
    apart = (found.double() - wanted.double())[finite].abs().max()
    return float(apart / wanted[finite].double().abs().max().clamp(min=1e-12))


def _about(
    source: Source,
    shape: tuple[int, int, int, int],
    graphs: Sequence[Graph],
    forms: Sequence[Form],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": source.section.model_dump(mode="json"),
        "clip": source.clip.model_dump(mode="json"),
        "classes": classes_table(source.classes),
        "shape": list(shape),
        "normalise": {"mean": MEAN, "spread": SPREAD},
        "forms": list(forms),
        "graphs": {
            graph.name: {"inputs": list(graph.inputs), "outputs": list(graph.outputs)}
            for graph in graphs
        },
        "versions": describe_versions(),
    }


@contextmanager
def _whole_folder(out: Path) -> Generator[Path]:
    """A hidden folder beside `out` that takes its place when the block ends without an error."""
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        building.chmod(0o755)
        yield building
        if out.exists():
            out.rmdir()
        building.replace(out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


@contextmanager
def _quiet() -> Generator[None]:
    """Keep the exporters' talk about what they skip from the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
