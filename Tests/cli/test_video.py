"""Videos, which ffmpeg makes, on the command line."""

import subprocess

import pytest

from support import MP3, answer, fails, generate, is_wrong_usage


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """10 s without sound, the same with sound, and a video that is tagged as turned by 90 degrees."""
    directory = tmp_path_factory.mktemp("videos")
    moving = ("-f", "lavfi", "-i", "testsrc=duration=10:size=112x56:rate=12")
    ffmpeg(*moving, "-pix_fmt", "yuv420p", directory / "silent.mp4")
    ffmpeg(*moving, "-i", MP3, "-pix_fmt", "yuv420p", directory / "spoken.mp4")
    ffmpeg("-i", directory / "silent.mp4", "-c", "copy", "-metadata:s:v", "rotate=90", directory / "turned.mp4")
    return directory


def test_a_video_has_the_expected_frames(videos):
    # 16 frames of 112 × 56 pixels: 8 pairs of 4 × 2 tokens.
    assert answer("--video", videos / "silent.mp4", "--prompt", "What?")["usage"]["media_tokens"] == 64
    few = answer("--video", videos / "silent.mp4", "--max-frames", 4, "--prompt", "What?")
    assert few["usage"]["media_tokens"] == 16


def test_a_videos_own_audio_follows_its_frames(videos):
    both = answer("--video", videos / "spoken.mp4", "--with-audio", "--prompt", "What?")
    assert both["usage"]["media_tokens"] == 64 + 300 and both["adapter"] == "speech"
    frames = answer("--video", videos / "spoken.mp4", "--prompt", "What?")
    assert frames["usage"]["media_tokens"] == 64 and frames["adapter"] == "none"


def test_a_video_without_audio_is_an_error_that_says_so(videos):
    fails(generate("--video", videos / "silent.mp4", "--with-audio"), "silent.mp4", "no audio track")


def test_a_turned_video_is_decoded_upright(videos, tmp_path):
    upright = tmp_path / "upright.mp4"
    # The pixels themselves are turned, without loss.
    ffmpeg("-i", videos / "turned.mp4", "-metadata:s:v", "rotate=0", "-qp", "0", upright)
    turned = answer("--video", videos / "turned.mp4", "--prompt", "What?")
    assert turned["token_ids"] == answer("--video", upright, "--prompt", "What?")["token_ids"]
    assert turned["token_ids"] != answer("--video", videos / "silent.mp4", "--prompt", "What?")["token_ids"]


def test_videos_and_pictures_can_be_given_several_times(videos, pictures):
    usage = answer(
        "--image", pictures["a_small"], "--image", pictures["a_tall"], "--video", videos / "silent.mp4",
        "--max-frames", 2, "--video", videos / "turned.mp4", "--prompt", "What?")["usage"]
    assert usage["media_tokens"] == 15 + 26 + 8 + 8


def test_large_images_are_shrunk_on_request(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc=duration=1:size=560x560:rate=1", "-frames:v", 1, tmp_path / "large.png")
    arguments = ("--image", tmp_path / "large.png", "--prompt", "What?")
    assert answer(*arguments)["usage"]["media_tokens"] == 400
    assert answer(*arguments, "--max-pixels", 28 * 28 * 100)["usage"]["media_tokens"] == 100
    is_wrong_usage(generate(*arguments, "--max-pixels", 10), "--max-pixels")


def test_files_that_are_not_videos_are_named(pictures, tmp_path):
    fails(generate("--video", MP3), "hi.mp3", "no video track")
    (tmp_path / "none.mp4").write_bytes(b"")
    fails(generate("--video", tmp_path / "none.mp4"), "none.mp4")
    fails(generate("--video", tmp_path / "nowhere.mp4"), "nowhere.mp4")


def test_a_truncated_video_is_decoded_to_its_end(videos, tmp_path):
    cut = tmp_path / "cut.mkv"
    ffmpeg("-i", videos / "silent.mp4", "-c", "copy", cut)
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    assert answer("--video", cut, "--prompt", "What?")["usage"]["media_tokens"] >= 16
