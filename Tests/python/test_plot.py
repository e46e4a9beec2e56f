"""lyra.plot shades kept tokens at their times and at their places in the image."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("matplotlib").use("Agg")
np = pytest.importorskip("numpy")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402

from lyra import plot  # noqa: E402


def of(figure, gid):
    """The objects of this name, panel by panel."""
    found = [[artist for artist in axes.get_children() if artist.get_gid() == gid] for axes in figure.axes]
    return [artists[0] for artists in found if artists]


def spans(collection):
    """The (start, end) of shaded times."""
    return [tuple(np.round(path.get_extents().intervalx, 6)) for path in collection.get_paths()]


def test_tokens_survive_as_many_blocks_as_they_are_kept_in():
    assert plot.survived(5, [[0, 1, 2, 4], [1, 4], [4]]).tolist() == [1, 2, 1, 0, 3]
    assert plot.survived(3, []).tolist() == [0, 0, 0]


@pytest.mark.parametrize("wrong", [-1, 6])
def test_an_invalid_token_is_refused(wrong):
    with pytest.raises(ValueError, match=f"block 2 .*{wrong}.* 6"):
        plot.draw_image(np.zeros((20, 30, 3), np.uint8), (2, 3), [[1], [wrong]])


def test_an_images_tokens_are_colored_at_their_places(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (40, 90, 3), np.uint8)
    figure = plot.draw_image(image, (2, 3), [[0, 1, 5], [1, 5], [5]])
    (layer,) = of(figure, "survived")
    assert layer.get_array().tolist() == [[1, 2, 0], [0, 0, 3]]
    extent = tuple(layer.get_extent())
    assert extent == (-0.5, 89.5, 39.5, -0.5), "from corner to corner of the image, first row on top"
    figure.savefig(tmp_path / "image.png")
    assert (tmp_path / "image.png").stat().st_size > 1000


def test_tokens_that_survived_more_blocks_have_another_color(tmp_path):
    """Compares rendered pixels. The image is white, so that only the colors differ."""
    white = np.full((60, 60), 255, np.uint8)
    white[0, 0] = 0
    figure = plot.draw_image(white, (2, 2), [[0, 1, 2], [0, 1], [0]])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (layer,) = of(figure, "survived")
    drawn = np.asarray(canvas.buffer_rgba())
    seen = set()
    for x, y in ((15, 15), (45, 15), (15, 45), (45, 45)):
        column, row = layer.axes.transData.transform((x, y))
        seen.add(tuple(drawn[drawn.shape[0] - 1 - int(row), int(column), :3]))
    assert len(seen) == 4


def test_frames_of_a_video_are_covered_step_by_step():
    frames = np.random.default_rng(0).integers(0, 255, (6, 20, 40, 3), np.uint8)
    figure = plot.draw_video(frames, (3, 1, 2), [[0, 3, 5], [3, 5]])
    layers = of(figure, "survived")
    assert [layer.get_array().tolist() for layer in layers] == [[[1, 0]], [[0, 2]], [[0, 2]]]
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images and axes.images[0].get_gid() is None]
    grey = frames[::2] @ np.array([0.299, 0.587, 0.114])
    assert np.allclose(shown[:3], grey), "the first of the two frames of each step"
    with pytest.raises(ValueError, match="2 frames for 3 time steps"):
        plot.draw_video(frames[:2], (3, 1, 2), [])


def test_kept_times_are_shaded_in_a_panel_for_each_block():
    samples = np.sin(np.arange(16000 * 3) / 20)
    figure = plot.draw_audio(samples, 16000, 30, [[0, 1, 2, 10, 29], [1, 10]])
    first, second = of(figure, "kept")
    assert spans(first) == [(0, 0.3), (1, 1.1), (2.9, 3)]
    assert spans(second) == [(0.1, 0.2), (1, 1.1)]
    assert [axes.get_ylabel() for axes in figure.axes] == ["block 1\n5 of 30", "block 2\n2 of 30"]


def test_tokens_of_the_padding_of_a_window_are_shaded_after_the_samples():
    figure = plot.draw_audio(np.zeros(16000), 16000, 300, [[0, 9, 299]], seconds=30)
    assert spans(of(figure, "kept")[0]) == [(0, 0.1), (0.9, 1), (29.9, 30)]
    assert figure.axes[0].get_xlim() == (0, 30)


def test_hours_are_drawn_in_hours():
    figure = plot.draw_audio(np.zeros(3 * 3600 * 100), 100, 108_000, [[36_000]])
    assert np.allclose(spans(of(figure, "kept")[0]), [(1, 1 + 0.1 / 3600)])
    assert figure.axes[-1].get_xlabel() == "time, h"


def test_the_waveform_shows_the_loudest_sample_of_a_column():
    samples = np.zeros(1_000_000)
    samples[123_456], samples[654_321] = 0.9, -0.7
    figure = plot.draw_audio(np.stack([samples, samples], axis=1), 16000, 10, [])
    (wave,) = figure.axes[0].collections
    extent = wave.get_paths()[0].get_extents()
    assert (extent.ymin, extent.ymax) == pytest.approx((-0.7, 0.9))


def test_a_later_span_of_a_recording_is_drawn_at_its_time():
    samples = np.zeros(90 * 100)
    samples[65 * 100] = 0.5
    figure = plot.draw_audio(samples, 100, 300, [[0, 299]], seconds=30, start=60)
    assert spans(of(figure, "kept")[0]) == [(60, 60.1), (89.9, 90)]
    assert figure.axes[0].get_xlim() == (60, 90)
    wave = figure.axes[0].collections[-1].get_paths()[0].vertices
    assert wave[wave[:, 1].argmax(), 0] == pytest.approx(65)


def span(kind, first, tokens, grid=(0, 0, 0), start=0.0, seconds=0.0):
    return SimpleNamespace(kind=kind, first=first, tokens=tokens, grid=grid, start=start, seconds=seconds)


def session_of(media, kept):
    return SimpleNamespace(
        media=lambda: media, kept=kept.__getitem__, usage=SimpleNamespace(extractor_blocks=len(kept)),
        speech_token_seconds=0.1)


def test_every_medium_of_a_session_is_drawn_with_its_own_tokens():
    media = [
        span("image", 14, 6, grid=(1, 2, 3)), span("speech", 25, 10, seconds=1.0), span("video", 40, 4, grid=(2, 1, 2))]
    session = session_of(media, [[14, 19, 25, 26, 34, 43], [19, 34]])
    image, frames, samples = np.zeros((20, 30, 3)), np.zeros((4, 10, 20, 3)), np.zeros(8000)
    drawn = plot.draw_session(session, [image, (samples, 8000), frames])
    assert of(drawn[0], "survived")[0].get_array().tolist() == [[1, 0, 0], [0, 0, 2]]
    assert [spans(panel) for panel in of(drawn[1], "kept")] == [[(0, 0.2), (0.9, 1)], [(0.9, 1)]]
    assert [layer.get_array().tolist() for layer in of(drawn[2], "survived")] == [[[0, 0]], [[0, 1]]]
    assert len(plot.draw_session(session, [None, None, frames])) == 1
    with pytest.raises(ValueError, match="1 media for the 3"):
        plot.draw_session(session, [image])


def test_the_spans_of_a_recording_are_one_medium():
    media = [
        span("speech", 10, 10, seconds=1.0), span("speech", 20, 10, start=5.0, seconds=1.0),
        span("speech", 40, 10, seconds=1.0)]
    session = session_of(media, [[10, 20, 49]])
    drawn = plot.draw_session(session, [(np.zeros(600), 100), (np.zeros(100), 100)])
    assert [spans(of(figure, "kept")[0]) for figure in drawn] == [[(0, 0.1)], [(5, 5.1)], [(0.9, 1)]]


def test_a_recording_that_begins_with_skipped_silence_is_the_first_medium():
    media = [span("speech", 10, 10, start=2.0, seconds=0.5), span("speech", 20, 10, seconds=1.0)]
    drawn = plot.draw_session(session_of(media, [[11, 29]]), [(np.zeros(250), 100), (np.zeros(100), 100)])
    assert [spans(of(figure, "kept")[0]) for figure in drawn] == [[(2.1, 2.2)], [(0.9, 1)]], "padding counts"


def test_without_matplotlib_the_error_says_how_to_install_it():
    program = "import sys; sys.modules['matplotlib'] = None\nimport lyra\nimport lyra.plot"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8")
    assert ended.returncode == 1 and "pip install './bindings/python[plot]'" in ended.stderr.splitlines()[-1]
