"""The page of what was scored: curves, bars, errors and worst videos (extra `report`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from stad_eval.bootstrap import Interval, bootstrap_interval, video_means
from stad_eval.error_analysis import ErrorAnalysis
from stad_eval.evidence import Evidence
from stad_eval.frame_result import FrameResult
from stad_eval.report import ACCENT, COLOURS, FAINT, Section, ap_bars, page, pr_curves
from stad_eval.version import __version__

WORST = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What a page shows of boxes on frames, or of tubes.

    Attributes:
        name: "frames" or "tubes".
        result: the result at one threshold; of tubes, in the same form.
        errors: what went wrong.
        evidence: what each video adds.
    """

    name: str
    result: FrameResult
    errors: ErrorAnalysis
    evidence: Evidence


def error_bars(errors: ErrorAnalysis) -> Figure:
    """The parts of 100 per cent (AP, each error, missed), one bar per class, the mean on top.

    Classes without ground truth are left out.
    """
    breakdown = errors.breakdown
    rows: dict[str, Mapping[str, float]] = {
        name: parts for name, parts in breakdown.per_class.items() if parts is not None
    }
    names = [*sorted(rows, key=lambda name: (rows[name]["AP"], name)), "mean"]
    shown = {**rows, "mean": breakdown.mean}
    figure = Figure(figsize=(8.0, max(1.8, 1.2 + 0.26 * len(names))), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(names))
    colours = (ACCENT, *COLOURS[1:], FAINT)
    for place, part in enumerate(breakdown.mean):
        width = np.nan_to_num(np.array([100.0 * shown[name][part] for name in names]))
        colour = FAINT if part == "missed" else colours[place % len(colours)]
        axes.barh(names, width, left=left, color=colour, height=0.7, label=part)
        left += width
    axes.set(xlabel="share of 100 %", xlim=(0.0, max(100.0, float(left.max(initial=0.0)))))
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


def gain_bars(errors: ErrorAnalysis) -> Figure:
    """What mending each kind of error would add to the mean average precision, in points."""
    gains = errors.gains.gains
    names = list(gains)[::-1]
    figure = Figure(figsize=(8.0, 0.9 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    values = np.nan_to_num(np.array([100.0 * gains[name] for name in names]))
    axes.barh(names, values, color=ACCENT, height=0.7)
    for place, value in enumerate(values.tolist()):
        axes.text(value, place, f" {value:+.2f}", va="center", fontsize=8.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set(xlabel="mAP gained, points")
    axes.margins(x=0.12)
    return figure


def worst_videos(evidence: Evidence, *, most: int = WORST) -> Markup:
    """A table of the videos of lowest mean average precision, as a piece of HTML.

    Equal ones are ordered by how much they miss. Videos without ground truth are left out.
    """
    means = video_means(evidence)
    size = len(evidence.videos)
    truths = evidence.truths.sum(axis=1)
    hits = np.bincount(evidence.video[evidence.correct], minlength=size)
    detections = np.bincount(evidence.video, minlength=size)
    order = np.lexsort((-(truths - hits), means))
    order = order[np.isfinite(means[order])][:most]
    row = Markup("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>")
    head = Markup(
        "<tr><th>video</th><th>mAP %</th><th>true</th><th>found</th><th>detections</th></tr>"
    )
    rows = [
        row.format(
            evidence.videos[at], f"{100.0 * means[at]:.2f}", truths[at], hits[at], detections[at]
        )
        for at in order.tolist()
    ]
    return Markup("<table>{}</table>").format(Markup("").join([head, *rows]))


def result_page(title: str, parts: Sequence[Scored], *, samples: int = 1000, seed: int = 0) -> str:
    """One HTML document that needs nothing else; intervals are bootstrapped over videos."""
    headline: dict[str, str | float] = {}
    sections: list[Section] = []
    for part in parts:
        result = part.result
        interval = None
        if len(part.evidence.videos) > 1:
            interval = bootstrap_interval(part.evidence, samples=samples, seed=seed)
        headline[f"{part.name}-mAP at IoU {result.iou:g}"] = _with_interval(result.mean, interval)
        sections += _sections(part)
    subtitle = f"{parts[0].result.protocol if parts else ''}, stad-eval {__version__}"
    return page(title, sections, headline=headline, subtitle=subtitle)


def _sections(part: Scored) -> list[Section]:
    name = part.name
    return [
        Section(title=f"Average precision, {name}", content=[ap_bars(part.result)]),
        Section(title=f"Precision and recall, {name}", content=[pr_curves(part.result)]),
        Section(
            title=f"Errors, {name}",
            text="What keeps average precision from 100, by class; and what mending one kind of "
            "error would gain.",
            content=[error_bars(part.errors), gain_bars(part.errors)],
        ),
        Section(
            title=f"Worst videos, {name}",
            text="Each video on its own, over the classes that it has.",
            content=[worst_videos(part.evidence)],
        ),
    ]


def _with_interval(mean: float, interval: Interval | None) -> str:
    if np.isnan(mean):
        return "-"
    text = f"{100.0 * mean:.2f} %"
    if interval is None:
        return text
    low, high = 100.0 * interval.low, 100.0 * interval.high
    return f"{text} ({low:.2f} to {high:.2f}, {100.0 * interval.level:g} % over videos)"
