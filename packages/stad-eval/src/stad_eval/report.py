"""Plots of a result and one self-contained HTML page of them (extra `report`).

Every function returns a matplotlib `Figure` of its own (pyplot and its global state are not used)
or a piece of HTML; `page` puts them together.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stad_eval.frame import FrameResult
from stad_eval.input_error import InputError
from stad_eval.precision import PrecisionRecall

try:
    import jinja2
    import matplotlib as mpl
    from markupsafe import Markup
    from matplotlib import image as mpl_image
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter
except ImportError as error:
    raise ImportError("stad_eval.report needs: pip install 'stad-eval[report]'") from error

INK, FAINT, ACCENT = "#1f2933", "#9aa5b1", "#2f6fab"
COLOURS = (
    *("#2f6fab", "#d1602d", "#3a8a55", "#9a4f96", "#b58900"),
    *("#c2455b", "#2aa1a1", "#6b6f2a", "#7a5230", "#5b6abf"),
)
CURVE_POINTS = 400
PAGE_WIDTH = 11.0  # inches; wider figures keep their size and are scrolled


@dataclass(frozen=True, kw_only=True)
class Section:
    """A headed part of a page.

    Attributes:
        title: heading, plain text.
        content: figures, `Markup` fragments (taken as they are) and plain text (escaped).
        text: a sentence below the heading; plain text.
    """

    title: str
    content: Sequence[Figure | str]
    text: str = ""


def pr_curves(result: FrameResult, *, highlight: int = 8) -> Figure:
    """Precision over recall: all classes in grey, those with most ground truth in colour.

    The black line is the mean of the classes' best precision at each recall. Classes without ground
    truth are left out; without any, the axes stay empty.
    """
    figure, axes = _axes(8.0, 4.8)
    curves = {name: curve for name, curve in result.curves.items() if curve.truths}
    named = sorted(curves, key=lambda name: (-curves[name].truths, name))[:highlight]
    for name in set(curves) - set(named):
        axes.plot(*_steps(curves[name]), color=FAINT, alpha=0.35, linewidth=0.8)
    for name, colour in zip(named, (*COLOURS, *[FAINT] * len(named)), strict=False):
        label = f"{name} ({100 * (result.per_class[name] or 0.0):.1f})"
        axes.plot(*_steps(curves[name]), color=colour, linewidth=1.4, label=label)
    if curves:
        grid = np.linspace(0.0, 1.0, 101)
        mean = np.mean([_best_precision(curve, grid) for curve in curves.values()], axis=0)
        label = f"mean of {len(curves)} ({100 * result.mean:.1f})"
        axes.plot(grid, mean, color=INK, linewidth=2.2, label=label)
        legend = axes.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, title="class (AP %)"
        )
        legend.set_alignment("left")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    return figure


def ap_bars(result: FrameResult) -> Figure:
    """AP of every class as bars, the best on top; classes without ground truth are left out."""
    values = {name: value for name, value in result.per_class.items() if value is not None}
    names = sorted(values, key=lambda name: (values[name], name))
    figure, axes = _axes(8.0, max(1.6, 0.9 + 0.24 * len(names)))
    heights = [100.0 * values[name] for name in names]
    axes.barh(names, heights, color=ACCENT, height=0.7)
    for place, height in enumerate(heights):
        label = axes.text(height + 0.8, place, f"{height:.1f}", va="center", fontsize=8.5)
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    if not math.isnan(result.mean):
        axes.axvline(100.0 * result.mean, color=COLOURS[1], linewidth=1.4, zorder=0.9)
        title = f"mean {100 * result.mean:.2f}"
        axes.set_title(title, loc="right", fontsize=10, color=COLOURS[1])
    axes.set(xlabel=f"AP % at IoU {result.iou:g}", xlim=(0, 108))
    axes.set_ylim(-0.7, max(len(names) - 0.3, 0.7))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    return figure


def confusion_matrix(matrix: ArrayLike, names: Sequence[str]) -> Figure:
    """What each true class was taken for: counts [C+1, C+1] of `confusion`, coloured by row share.

    Of more than 40 classes, those that never occur are left out.

    Raises:
        InputError: if the matrix is not [C+1, C+1] for the C names.
    """
    counts = np.asarray(matrix)
    size = len(names) + 1
    if counts.shape != (size, size):
        expected = f"[{size}, {size}] for {len(names)} names"
        raise InputError("confusion matrix of another size", expected=expected, found=counts.shape)
    if size > 40:
        used = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
        used[-1] = True
        counts = counts[np.ix_(used, used)]
        names = [name for name, keep in zip(names, used[:-1], strict=True) if keep]
        size = counts.shape[0]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(4.2, 2.0 + 0.34 * size), 15.0)
    figure, axes = _axes(side + 1.2, side)
    shown = axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    font = 9.0 if size <= 30 else max(6.5, 270.0 / size)
    places = np.arange(size)
    axes.set_xticks(places, [*names, "missed"], rotation=90, fontsize=font)
    axes.set_yticks(places, [*names, "background"], fontsize=font)
    axes.set(xlabel="detected as", ylabel="truth")
    axes.grid(visible=False)
    axes.axhline(size - 1.5, color=FAINT, linewidth=0.8)
    axes.axvline(size - 1.5, color=FAINT, linewidth=0.8)
    if size <= 25:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if share[row, column] > 0.55 else INK
            text = f"{counts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
    bar = figure.colorbar(shown, ax=axes, fraction=0.04, pad=0.02, format=PercentFormatter(1.0))
    bar.outline.set_visible(False)
    bar.set_label("share of the row")
    return figure


def loss_curves(steps: ArrayLike, series: Mapping[str, ArrayLike]) -> Figure:
    """Named losses over training steps: pale as logged, bold as a running mean; NaN leaves a gap.

    Raises:
        InputError: if a series has not one value per step.
    """
    at = np.asarray(steps, dtype=np.float64)
    figure, axes = _axes(8.0, 4.0)
    for place, (name, values) in enumerate(series.items()):
        loss = np.asarray(values, dtype=np.float64)
        if loss.shape != at.shape or at.ndim != 1:
            raise InputError(
                f"loss '{name}' does not fit the steps", expected=at.shape, found=loss.shape
            )
        colour = COLOURS[place % len(COLOURS)]
        smooth = _running_mean(loss, max(1, at.size // 40))
        axes.plot(at, loss, color=colour, alpha=0.25, linewidth=0.8)
        last = smooth[np.isfinite(smooth)][-1:]
        label = f"{name} ({last[0]:.3g})" if last.size else name
        axes.plot(at, smooth, color=colour, linewidth=1.8, label=label)
    if series:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1.0), title="(last)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="step", ylabel="loss")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    return figure


def image_strip(images: Sequence[NDArray[np.uint8]], captions: Sequence[str]) -> Markup:
    """Images [H, W, 3] uint8 side by side with a caption each, as one piece of HTML.

    Raises:
        InputError: if numbers of images and captions differ, or an image is not [H, W, 3] uint8.
    """
    if len(images) != len(captions):
        raise InputError("captions do not fit", expected=len(images), found=len(captions))
    parts: list[Markup] = []
    for image, caption in zip(images, captions, strict=True):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            found = f"{image.dtype} {image.shape}"
            raise InputError("not an image", expected="uint8 [H, W, 3]", found=found)
        stream = io.BytesIO()
        pixels = np.ascontiguousarray(image)
        mpl_image.imsave(stream, pixels, format="jpg", pil_kwargs={"quality": 88})
        parts.append(_FIGURE.format(source=_uri("image/jpeg", stream.getvalue()), text=caption))
    return Markup('<div class="strip">{}</div>').format(Markup("").join(parts))


def page(
    title: str,
    sections: Sequence[Section | tuple[str, Figure | str | Sequence[Figure | str]]],
    *,
    headline: Mapping[str, str | float] | None = None,
    subtitle: str = "",
) -> str:
    """One HTML document that needs nothing else: styles inside, images as data URIs.

    A section is a `Section`, or a pair of heading and content. `headline` is the table on top:
    texts as they are, numbers in per cent.
    """
    template = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    parts = [part if isinstance(part, Section) else _section(*part) for part in sections]
    shown = [
        {"title": part.title, "text": part.text, "content": [_html(each) for each in part.content]}
        for part in parts
    ]
    numbers = {
        name: value if isinstance(value, str) else f"{100.0 * value:.2f} %"
        for name, value in (headline or {}).items()
    }
    return template.render(title=title, subtitle=subtitle, headline=numbers, sections=shown)


def _section(title: str, content: Figure | str | Sequence[Figure | str]) -> Section:
    whole = (content,) if isinstance(content, (Figure, str)) else tuple(content)
    return Section(title=title, content=whole)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(color=FAINT, labelcolor=INK, labelsize=9)
    return figure, axes


def _steps(curve: PrecisionRecall) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The curve thinned to what a plot can show."""
    size = curve.recall.size
    rows = np.unique(np.linspace(0, size - 1, min(size, CURVE_POINTS)).astype(np.int64))
    return curve.recall[rows], curve.precision[rows]


def _best_precision(curve: PrecisionRecall, recall: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best precision at each recall or more; 0 past the end."""
    best = np.append(np.maximum.accumulate(curve.precision[::-1])[::-1], 0.0)
    return best[np.searchsorted(curve.recall, recall - 1e-12)]


def _running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean over a window centred on each value; NaN counts for nothing."""
    finite = np.isfinite(values)
    kernel = np.ones(2 * window - 1)
    total = np.convolve(np.where(finite, values, 0.0), kernel, mode="full")
    count = np.convolve(finite.astype(np.float64), kernel, mode="full")
    middle = slice(window - 1, window - 1 + values.size)
    mean = total[middle] / np.maximum(count[middle], 1.0)
    return np.where(finite, mean, np.nan)


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _html(content: Figure | str) -> str:
    if isinstance(content, Figure):
        stream = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": "stad", "svg.fonttype": "path"}):
            content.savefig(stream, format="svg", metadata={"Date": None})
        source = _uri("image/svg+xml", stream.getvalue())
        kind = "plot wide" if content.get_figwidth() > PAGE_WIDTH else "plot"
        return Markup('<div class="{}"><img alt="" src="{}"></div>').format(kind, source)
    return content if isinstance(content, Markup) else Markup("<p>{}</p>").format(content)


_FIGURE = Markup(
    '<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  :root { color-scheme: light; }
  body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.5rem 4rem; background: #fff;
         color: #1f2933; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
  h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
  h2 { font-size: 1.25rem; margin: 2.8rem 0 .4rem; padding-top: 1.2rem;
       border-top: 1px solid #e4e7eb; }
  p { margin: .3rem 0 .9rem; max-width: 46rem; }
  .subtitle { color: #52606d; }
  table { border-collapse: collapse; margin: 1.4rem 0 0; font-variant-numeric: tabular-nums; }
  th, td { padding: .45rem 1.2rem .45rem 0; border-bottom: 1px solid #e4e7eb; text-align: left; }
  th { font-weight: 500; color: #52606d; }
  td { font-weight: 650; }
  .plot { margin: .6rem 0; overflow-x: auto; }
  .plot img { display: block; max-width: 100%; height: auto; }
  .wide img { max-width: none; }
  pre { background: #f5f7fa; padding: 1rem; overflow-x: auto; font-size: .85rem; }
  .strip { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
  figure { margin: 0; }
  figure img { width: 100%; height: auto; display: block; border-radius: 4px; }
  figcaption { font-size: .85rem; color: #52606d; padding-top: .35rem; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% if subtitle %}
<p class="subtitle">{{ subtitle }}</p>
{% endif %}
{% if headline %}
<table>
{% for name, value in headline.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% for section in sections %}
<section>
<h2>{{ section.title }}</h2>
{% if section.text %}
<p>{{ section.text }}</p>
{% endif %}
{% for content in section.content %}
{{ content }}
{% endfor %}
</section>
{% endfor %}
</body>
</html>
"""
