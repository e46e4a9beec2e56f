"""Draws which media tokens the extractor kept, block by block, as in the paper's Figure 5.

    import lyra.plot

    with model.session(extractor=(4, 0.7)) as session:
        session.feed_image(image)
        session.feed_text("What is it?")
        for event in session.answer():
            ...
        (figure,) = lyra.plot.draw_session(session, media=[image])
        figure.savefig("kept.png")

Needs matplotlib: ``pip install './bindings/python[plot]'``, in lyra's repository. Nothing here opens a window or
changes matplotlib's settings; each function returns a ``matplotlib.figure.Figure``. All but ``draw_session`` take
plain data and need no session.

``kept`` has the same meaning in all functions: for each block, the indices of the medium's tokens that the extractor
kept, from 0. The tokens of an image or a frame are ordered row by row, from the top left.
"""

from __future__ import annotations

from typing import Any, Iterable, Optional, Sequence, Tuple

try:
    import numpy as np
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        f"lyra.plot needs matplotlib ({error}); in lyra's repository: pip install './bindings/python[plot]'"
    ) from error

__all__ = ["draw_audio", "draw_image", "draw_session", "draw_video", "survived"]

Kept = Sequence[Iterable[int]]

#: From dark for tokens pruned after the first block to bright for tokens kept to the end.
_COLORS = ["#30123b", "#4662d8", "#1bcfd4", "#a4fc3c", "#fb7e21"]
_WAVE, _KEPT = "#5b6270", "#fdb863"


def survived(count: int, kept: Kept) -> "np.ndarray":
    """How many blocks each of ``count`` tokens survived: the number of lists in ``kept`` that contain the token.

    Raises ValueError for an index out of range.
    """
    times = np.zeros(count, dtype=int)
    for block, indices in enumerate(kept):
        chosen = np.unique(np.asarray(list(indices), dtype=int))
        if chosen.size and (chosen[0] < 0 or chosen[-1] >= count):
            wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
            raise ValueError(f"block {block + 1} kept token {wrong}, but there are {count}")
        times[chosen] += 1
    return times


def draw_image(pixels: Any, grid: Tuple[int, int], kept: Kept, title: Optional[str] = None) -> Figure:
    """Draws an image, and over it how many blocks each token survived.

    Args:
        pixels: The image: a PIL image, or an array of shape [height, width, 3] or [height, width].
        grid: Rows and columns of tokens.
        kept: For each block, the tokens kept after it.
        title: The figure's title.

    Raises ValueError for an index out of range.
    """
    rows, columns = grid
    times = survived(rows * columns, kept).reshape(rows, columns)
    image = _pixels(pixels)
    ratio = image.shape[1] / image.shape[0]
    # Two panels, of about the same area for any aspect ratio, and the colour bar.
    height = min(max(4.2 / ratio**0.5, 2.2), 7.5)
    figure = Figure(figsize=(2 * height * ratio + 1.6, height + 0.7), layout="constrained")
    plain, covered = figure.subplots(1, 2)
    plain.imshow(image, cmap="gray")
    plain.set_title("image", fontsize=10)
    _cover(covered, image, times, len(kept))
    covered.set_title(f"{rows} × {columns} tokens, {_shares(times.size, kept)}", fontsize=10)
    for axes in (plain, covered):
        axes.set_axis_off()
    _add_color_bar(figure, covered, len(kept))
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def draw_video(frames: Any, grid: Tuple[int, int, int], kept: Kept, title: Optional[str] = None) -> Figure:
    """Draws frames of a video, and over each how many blocks its tokens survived.

    Args:
        frames: Images as ``draw_image`` takes them, evenly spaced over the video: at least one for each time step of
            the grid. (The model encodes two frames for a time step.) The first frame of each time step is drawn.
        grid: Time steps, rows and columns of tokens.
        kept: For each block, the tokens kept after it. The tokens are ordered by time step.
        title: The figure's title.

    Raises ValueError for fewer frames than time steps, or an index out of range.
    """
    steps, rows, columns = grid
    if len(frames) < steps:
        raise ValueError(f"{len(frames)} frames for {steps} time steps; each needs a frame")
    times = survived(steps * rows * columns, kept).reshape(steps, rows, columns)
    images = [_pixels(frames[step * len(frames) // steps]) for step in range(steps)]
    ratio = images[0].shape[1] / images[0].shape[0]
    across = min(steps, 4)
    down = -(-steps // across)
    width = 2.6 if ratio >= 1 else 2.0
    figure = Figure(
        figsize=(max(across * width + 1.2, 4), down * (width / ratio + 0.35) + 0.6), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for step, axes in enumerate(panels[:steps]):
        _cover(axes, images[step], times[step], len(kept))
        axes.set_title(f"step {step + 1}: {np.mean(times[step] == len(kept)):.0%} kept to the end", fontsize=8)
    _add_color_bar(figure, list(panels), len(kept))
    figure.suptitle(title or f"{steps} × {rows} × {columns} tokens, {_shares(times.size, kept)}", fontsize=10)
    return figure


def draw_audio(
    samples: Any,
    rate: int,
    tokens: int,
    kept: Kept,
    seconds: Optional[float] = None,
    start: float = 0,
    title: Optional[str] = None,
) -> Figure:
    """Draws a waveform once for each block, with the time of the kept tokens shaded.

    Args:
        samples: Mono, in -1…1, of shape [frames]; or [frames, channels], which are averaged.
        rate: The sample rate in Hz.
        tokens: The number of tokens, which all cover the same time.
        kept: For each block, the tokens kept after it.
        seconds: The time that all tokens cover, if it is longer than the samples: silence pads the last window of a
            recording, and the tokens cover the silence too.
        start: The time in the recording at which the first token begins. Earlier samples are not drawn.
        title: The figure's title.

    Raises ValueError if there are no tokens, or for an index out of range.
    """
    if tokens < 1:
        raise ValueError("there are no tokens to draw")
    survived(tokens, kept)
    wave = np.asarray(samples, dtype=float)
    if wave.ndim == 2:
        wave = wave.mean(axis=1)
    wave = wave[round(start * rate) : None if seconds is None else round((start + seconds) * rate)]
    step = (len(wave) / rate if seconds is None else seconds) / tokens
    end = start + max(len(wave) / rate, step * tokens)
    blocks = max(len(kept), 1)
    figure = Figure(figsize=(10, 1.25 * blocks + 0.9), layout="constrained")
    panels = figure.subplots(blocks, 1, sharex=True, squeeze=False).ravel()
    scale, unit = _time_unit(end)
    left, low, high = _envelope(wave, rate)
    limit = max(float(np.abs(wave).max(initial=0)), 1e-6) * 1.08
    for block, axes in enumerate(panels):
        axes.set_ylim(-limit, limit)
        axes.set_xlim(start / scale, end / scale)
        axes.set_yticks([])
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        if block < len(kept):
            chosen = sorted(set(kept[block]))
            spans = [((start + first * step) / scale, count * step / scale) for first, count in _runs(chosen)]
            shade = axes.broken_barh(spans, (-limit, 2 * limit), facecolors=_KEPT, linewidth=0, zorder=1)
            shade.set_gid("kept")
            axes.set_ylabel(
                f"block {block + 1}\n{len(chosen)} of {tokens}", rotation=0, ha="right", va="center", fontsize=9)
        axes.fill_between((start + left) / scale, low, high, color=_WAVE, linewidth=0.3, zorder=2)
    panels[-1].set_xlabel(f"time, {unit}", fontsize=9)
    figure.suptitle(title or f"{tokens} tokens, {_shares(tokens, kept)}; shaded: kept after the block", fontsize=10)
    return figure


def draw_session(session: Any, media: Sequence[Any]) -> "list[Figure]":
    """Draws what the extractor kept of each medium of a turn, in the order of feeding.

    Args:
        session: A ``lyra.Session`` whose turn was prefilled.
        media: The fed media: an image as ``draw_image`` takes it, a video's frames as ``draw_video`` does, (samples,
            rate) of speech or sound; None to omit one. A video's own audio is a separate medium, after the video. The
            few tokens of a sound are spread evenly over its samples.

    Returns:
        A figure for each medium that is not None; for a recording with silence left out, a figure for each stretch that
        was kept. (If silence was left out at the start of a recording that follows another, both can count as one
        recording; then pass their samples joined.)

    Raises ValueError if the number of ``media`` differs from the number that was fed.
    """
    spans = session.media()
    begins = [index == 0 or not _continues(span, spans[index - 1]) for index, span in enumerate(spans)]
    owners = np.cumsum(begins, dtype=int) - 1
    fed = int(owners[-1]) + 1 if spans else 0
    if fed != len(media):
        raise ValueError(f"{len(media)} media for the {fed} that were fed: pass each, or None to omit one")
    blocks = [list(session.kept(block)) for block in range(session.usage.extractor_blocks)]
    figures = []
    for span, owner in zip(spans, owners):
        source = media[owner]
        if source is None:
            continue
        end = span.first + span.tokens
        kept = [[index - span.first for index in block if span.first <= index < end] for block in blocks]
        kind = _kind(span)
        title = f"{kind}, medium {owner + 1}: {span.tokens} tokens, {_shares(span.tokens, kept)}"
        if kind == "image":
            figures.append(draw_image(source, tuple(span.grid)[-2:], kept, title))
        elif kind == "video":
            figures.append(draw_video(source, tuple(span.grid), kept, title))
        else:
            samples, rate = source
            # Not span.seconds: the tokens of the last window also cover the silence that pads it.
            seconds = span.tokens * session.speech_token_seconds if kind == "speech" else None
            figures.append(draw_audio(samples, rate, span.tokens, kept, seconds, span.start, title))
    return figures


# ------------------------------------------------------------------------------------------------------------ helpers


def _kind(span: Any) -> str:
    """ "speech", "sound", "image" or "video" """
    return str(getattr(span.kind, "name", span.kind)).lower()


def _continues(span: Any, before: Any) -> bool:
    """Whether a span continues the recording of the span before, with silence left out in between."""
    if _kind(span) != "speech" or _kind(before) != "speech":
        return False
    return span.start > 0 and span.start >= before.start + before.seconds


def _pixels(source: Any) -> "np.ndarray":
    image = np.asarray(source)
    if image.ndim not in (2, 3):
        raise ValueError(f"pixels of {image.ndim} dimensions; they can be [height, width, 3] or [height, width]")
    return image


def _shares(count: int, kept: Kept) -> str:
    """ "kept 70 %, 49 %" """
    if not kept:
        return "nothing was pruned"
    return "kept " + ", ".join(f"{len(set(indices)) / max(count, 1):.0%}" for indices in kept)


def _palette(blocks: int) -> "Tuple[ListedColormap, BoundaryNorm]":
    """A colour for each number of survived blocks, from 0 to ``blocks``."""
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("kept", _COLORS)
    colors = ListedColormap([ramp(step / max(blocks, 1)) for step in range(blocks + 1)])
    return colors, BoundaryNorm(np.arange(blocks + 2) - 0.5, blocks + 1)


def _cover(axes: Any, image: "np.ndarray", times: "np.ndarray", blocks: int) -> None:
    """The image in grey under the colours of its tokens."""
    grey = image if image.ndim == 2 else image[..., :3] @ np.array([0.299, 0.587, 0.114])
    height, width = image.shape[:2]
    axes.imshow(grey, cmap="gray")
    colors, norm = _palette(blocks)
    layer = axes.imshow(
        times, cmap=colors, norm=norm, alpha=0.55, extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="nearest")
    layer.set_gid("survived")


def _add_color_bar(figure: Figure, axes: Any, blocks: int) -> None:
    from matplotlib.cm import ScalarMappable

    colors, norm = _palette(blocks)
    bar = figure.colorbar(ScalarMappable(norm, colors), ax=axes, ticks=range(blocks + 1), fraction=0.05, pad=0.02)
    bar.set_label("blocks survived", fontsize=9)
    bar.ax.tick_params(labelsize=8, length=0)


def _runs(indices: "Sequence[int]") -> "list[Tuple[int, int]]":
    """Ascending indices as ranges of consecutive ones, (first, count)."""
    runs: "list[Tuple[int, int]]" = []
    for index in indices:
        if runs and index == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index, 1))
    return runs


def _envelope(wave: "np.ndarray", rate: int, columns: int = 2000) -> "Tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Start time, lowest and highest sample of each drawn column, so that hours are drawn as fast as seconds."""
    if len(wave) == 0:
        return np.zeros(1), np.zeros(1), np.zeros(1)
    size = -(-len(wave) // columns)
    starts = np.arange(0, len(wave), size)
    return starts / rate, np.minimum.reduceat(wave, starts), np.maximum.reduceat(wave, starts)


def _time_unit(seconds: float) -> "Tuple[float, str]":
    return (1, "s") if seconds < 300 else (60, "min") if seconds < 7200 else (3600, "h")
