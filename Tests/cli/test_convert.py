"""The files of `convert`, read by other programs and by the tool."""

import json
import os
import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from support import FIXTURES, TOOL, answer, case, fails, is_wrong_usage, lyra, model_of, read_wav
from test_golden_turns import TURNS, is_the_other_side_of_a_tie

RECIPES = ["f32", "bf16", "q8_0", "q4_0", "q4_k_m"]


def convert(model, output, *arguments, **options):
    return lyra("convert", model, "-o", output, *arguments, **options)


def converted(variant, output, *arguments):
    """→ the file, in a directory without towers beside it"""
    ended = convert(FIXTURES / variant / "lyra", output, *arguments)
    assert (ended.returncode, ended.stdout) == (0, ""), ended
    return output


@pytest.fixture(scope="module", params=["a", "b"])
def lossless(request, tmp_path_factory):
    """The fixture's name, and its lossless conversion."""
    variant = request.param
    return variant, converted(variant, tmp_path_factory.mktemp(variant) / "model.gguf", "--type", "bf16")


def test_one_line_summarizes_the_conversion(tmp_path):
    output = tmp_path / "model.gguf"
    ended = convert(FIXTURES / "a/lyra", output, "--type", "q8_0")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (0, "", 1)
    assert ended.stderr.startswith(f"wrote {output}: ") and "Q8_0 × " in ended.stderr and "MB/s" in ended.stderr
    assert os.listdir(tmp_path) == ["model.gguf"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_other_readers_find_every_tensor(recipe, tmp_path):
    gguf = pytest.importorskip("gguf")
    file = converted("b", tmp_path / "model.gguf", "--type", recipe)
    reader = gguf.GGUFReader(file)
    names = [tensor.name for tensor in reader.tensors]
    assert len(set(names)) == len(names) > 300 and all(len(name.encode()) < 64 for name in names)
    assert reader.fields["general.architecture"].contents() == "qwen2vl"
    assert reader.fields["lyra.recipe"].contents() == recipe
    assert json.loads(reader.fields["lyra.file.config.json"].contents()) == json.loads(
        (FIXTURES / "b/lyra/config.json").read_text())
    types = {tensor.tensor_type.name for tensor in reader.tensors}
    # Rows of the fixture are too short for quantization blocks of 256, so they become Q8_0.
    assert types >= {"f32": {"F32"}, "bf16": {"BF16", "F32"}, "q4_0": {"Q4_0", "Q8_0"}}.get(recipe, {"Q8_0", "F32"})
    for tensor in reader.tensors:
        if tensor.name.endswith((".bias", "_norm.weight")) and tensor.name.startswith("blk."):
            assert tensor.tensor_type.name == "F32"


def test_other_readers_find_the_same_numbers(tmp_path):
    """gguf-py quantizes the same BF16 weights to the same blocks of Q8_0."""
    gguf = pytest.importorskip("gguf")
    wide = {t.name: t for t in gguf.GGUFReader(converted("b", tmp_path / "wide.gguf", "--type", "f32")).tensors}
    small = gguf.GGUFReader(converted("b", tmp_path / "small.gguf", "--type", "q8_0")).tensors
    compared = 0
    for tensor in small:
        if tensor.tensor_type.name == "Q8_0":
            # The vocoder's convolutions have all axes but the first in one.
            rows = wide[tensor.name].data.reshape(len(wide[tensor.name].data), -1)
            want = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
            assert np.array_equal(tensor.data, want), tensor.name
            compared += 1
    assert compared > 80


@pytest.mark.parametrize("turn", TURNS)
def test_a_lossless_file_answers_like_the_reference(turn, lossless, recordings, pictures, tmp_path):
    variant, file = lossless
    fed, prompt, adapter = TURNS[turn]
    media = recordings | pictures
    arguments = [part for option, name in fed for part in (option, media[f"{variant}_{name}"])]
    wav, want = tmp_path / "answer.wav", case(variant, turn)
    got = answer("--model", file, *arguments, *(("--prompt", prompt) if prompt else ()), "--speak", wav)
    assert got["token_ids"] == want["out.ids"].tolist() and got["adapter"] == adapter
    rate, samples = read_wav(wav)
    if not is_the_other_side_of_a_tie(variant, turn, got["units"], want["out.units"].tolist()):
        assert got["units"] == want["out.units"].tolist()
        assert np.abs(samples - want["out.wav"]).max() <= 1e-4


@pytest.mark.parametrize("recipe", ["q8_0", "q4_0", "q4_k_m"])
def test_a_quantized_file_takes_all_media_and_speaks(recipe, recordings, pictures, tmp_path):
    file = converted("a", tmp_path / "model.gguf", "--type", recipe)
    for option, medium in [("--audio", recordings["a_short"]), ("--sound", recordings["a_short"]),
                           ("--image", pictures["a_small"])]:
        got = answer("--model", file, option, medium, "--prompt", "What?", "--speak", tmp_path / "answer.wav")
        assert got["token_ids"] and got["usage"]["media_tokens"] > 0
        assert len(read_wav(tmp_path / "answer.wav")[1]) > 0


def test_inspect_tells_parts_and_types(tmp_path):
    file = converted("b", tmp_path / "model.gguf", "--type", "q8_0")
    got = json.loads(lyra("inspect", file, "--json").stdout)
    names = {part["name"] for part in got["parts"]}
    assert names >= {"language model", "speech generator", "speech tower", "vision tower", "sound tower", "vocoder",
                     "adapter speech", "adapter long_speech"}
    assert got["missing"] == [] and all(part["source"] == str(file) for part in got["parts"])
    language = next(part for part in got["parts"] if part["name"] == "language model")
    # Seven matrices and five small tensors per layer, embeddings, head and last norm.
    assert language["types"] == {"Q8_0": 6 * 7 + 2, "F32": 6 * 5 + 1}


def test_inspect_shows_no_control_characters_of_a_file(tmp_path):
    file = converted("b", tmp_path / "model.gguf", "--type", "q8_0")
    name = b"\x0b" + bytes(7) + b"long_speech"
    content = file.read_bytes()
    assert content.count(name) == 1
    file.write_bytes(content.replace(name, name[:8] + b"\x1b[2J\nspeech"))
    ended = lyra("inspect", file)
    assert ended.returncode == 0 and "\x1b" not in ended.stdout and r'"\u{1B}[2J\nspeech"' in ended.stdout
    assert "\x1b" not in lyra("inspect", file, "--json").stdout


def missing(*arguments):
    return json.loads(lyra("inspect", *arguments, "--json").stdout)["missing"]


@pytest.mark.parametrize("variant", ["a", "b"])
def test_missing_parts_are_noted_and_found_later(variant, tmp_path):
    """b has its towers beside the checkpoint; a has them inside, and lacks only their configurations."""
    bare = tmp_path / "deep/er/lyra"
    shutil.copytree(FIXTURES / variant / "lyra", bare)
    file = tmp_path / "model.gguf"
    ended = convert(bare, file, "--type", "bf16")
    assert ended.returncode == 0 and ended.stderr.count("note: ") == 4
    assert ended.stderr.count(f"note: {bare}: ") == 4 and f"{bare}: {bare}" not in ended.stderr
    assert len(missing(file)) == 4 and all(reason.count(str(file)) <= 2 for reason in missing(file))
    towers = FIXTURES / variant / "model_zoo"
    assert missing(file, "--towers", towers) == []
    for number, source in enumerate([bare, file]):
        whole = tmp_path / f"{number}.gguf"
        assert convert(source, whole, "--type", "bf16", "--towers", towers).returncode == 0
        assert missing(whole) == []


# ------------------------------------------------------------------------------------------------------------ llama.cpp


@pytest.mark.parametrize("variant", ["a", "b"])
def test_llama_cpp_gives_the_same_answer(variant, tmp_path):
    """Greedy, from the ids of the golden prompt. In F32, so that both compute the same sums."""
    llama_cpp = pytest.importorskip("llama_cpp")
    file = converted(variant, tmp_path / "model.gguf", "--type", "f32", "--part", "llm")
    model = llama_cpp.Llama(str(file), n_ctx=128, n_threads=1, verbose=False)
    prompt = ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
              "<|im_start|>user\nHello! Who are you?<|im_end|>\n<|im_start|>assistant\n")
    ids = model.tokenize(prompt.encode(), add_bos=False, special=True)
    want = case(variant, "turn_text")
    assert len(ids) == want["out.positions"].shape[1]
    got = []
    for token in model.generate(ids, temp=0, repeat_penalty=1.0):
        got.append(token)
        if token in (2048, 2050) or len(got) == 12:
            break
    assert got == want["out.ids"].tolist()


def test_the_language_model_alone_answers_text_and_refuses_media(recordings, tmp_path):
    file = converted("a", tmp_path / "model.gguf", "--type", "bf16", "--part", "llm")
    got = answer("--model", file, "--prompt", "Hello! Who are you?")
    assert got["token_ids"] == case("a", "turn_text")["out.ids"].tolist()
    fails(lyra("generate", "--model", file, "--audio", recordings["a_short"]), file, "takes no speech")
    reasons = missing(file)
    assert sum("speech generator" in reason for reason in reasons) == 1
    assert not any("adapter" in reason for reason in reasons), "a model that takes no speech chooses no adapter"


def test_quantized_input_is_noted(tmp_path):
    small = converted("a", tmp_path / "small.gguf", "--type", "q8_0")
    ended = convert(small, tmp_path / "wide.gguf", "--type", "bf16")
    assert ended.returncode == 0 and "note: weights are Q8_0 already" in ended.stderr
    same = convert(small, tmp_path / "same.gguf", "--type", "q8_0")
    assert same.returncode == 0 and "already" not in same.stderr


def test_rows_too_short_for_the_recipe_are_noted(tmp_path):
    ended = convert(FIXTURES / "a/lyra", tmp_path / "model.gguf", "--type", "q4_k_m")
    assert ended.returncode == 0 and "multiple of 256" in ended.stderr
    assert "256" not in convert(FIXTURES / "a/lyra", tmp_path / "other.gguf", "--type", "q4_0").stderr


# ------------------------------------------------------------------------------------------------------------- failures


def begin(output, **options):
    """A conversion → the process, once it has begun to write or has ended."""
    process = subprocess.Popen([TOOL, "convert", FIXTURES / "a/lyra", "-o", output, "--type", "q4_0"],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", **options)
    while process.poll() is None and not any(name.endswith(".partial") for name in os.listdir(output.parent)):
        time.sleep(0.0002)
    return process


def test_a_killed_conversion_leaves_no_file_under_the_name(tmp_path):
    killed = 0
    for trial in range(10):
        output = tmp_path / f"{trial}/model.gguf"
        output.parent.mkdir()
        output.write_bytes(b"older")
        process = begin(output)
        process.kill()
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
            assert output.read_bytes() == b"older" or lyra("inspect", output).returncode == 0
    assert killed > 0


@pytest.mark.parametrize("limit", [4096, 1 << 20])
def test_a_limit_on_file_sizes_is_an_error_and_leaves_no_file(limit, tmp_path):
    output = tmp_path / "model.gguf"
    output.write_bytes(b"older")
    ended = convert(FIXTURES / "a/lyra", output, "--type", "bf16",
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    fails(ended, output)
    assert os.listdir(tmp_path) == ["model.gguf"] and output.read_bytes() == b"older"


def test_an_interrupt_leaves_no_file(tmp_path):
    interrupted = 0
    for trial in range(10):
        output = tmp_path / f"{trial}/model.gguf"
        output.parent.mkdir()
        process = begin(output)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        if process.returncode == 1:
            assert err == f"lyra: {output}: interrupted; nothing was written\n"
            assert os.listdir(output.parent) == []
            interrupted += 1
    assert interrupted > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_program_leaves_no_file(number, tmp_path):
    ended = 0
    for trial in range(10):
        output = tmp_path / f"{trial}/model.gguf"
        output.parent.mkdir()
        output.write_bytes(b"older")
        # The tests themselves may run under nohup.
        process = begin(output, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        # A shell reports it as 128 plus the signal's number.
        if process.returncode == -number:
            assert err == "" and os.listdir(output.parent) == ["model.gguf"] and output.read_bytes() == b"older"
            ended += 1
        else:
            assert process.returncode == 0
    assert ended > 0


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    """As under nohup."""
    output = tmp_path / "model.gguf"
    process = begin(output, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0 and missing(output) == []


def test_a_second_interrupt_leaves_no_file(tmp_path):
    ended = 0
    for trial in range(10):
        output = tmp_path / f"{trial}/model.gguf"
        output.parent.mkdir()
        process = begin(output)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.0005)
        process.communicate(timeout=60)
        assert process.returncode in (0, 1, -signal.SIGINT)
        assert os.listdir(output.parent) == (["model.gguf"] if process.returncode == 0 else [])
        ended += process.returncode != 0
    assert ended > 0


def test_a_models_own_file_is_not_replaced(tmp_path):
    shutil.copytree(FIXTURES / "a", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cases"))
    for name in ["lyra/model-00001-of-00002.safetensors", "lyra/config.json", "model_zoo/audio/vocoder/g_00500000"]:
        before = (tmp_path / name).read_bytes()
        fails(convert(tmp_path / "lyra", tmp_path / name), tmp_path / name, "another file")
        assert (tmp_path / name).read_bytes() == before
    file = converted("a", tmp_path / "model.gguf", "--type", "bf16")
    assert convert(file, file, "--type", "q8_0").returncode == 0 and missing(file) == []


def test_links_and_permissions_stay(tmp_path):
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there/model.gguf", tmp_path / "link.gguf"
    file.write_bytes(b"older")
    file.chmod(0o600)
    link.symlink_to(file)
    converted("a", link, "--type", "q8_0")
    assert link.is_symlink() and file.stat().st_mode & 0o777 == 0o600 and missing(file) == []
    assert sorted(os.listdir(tmp_path)) == ["link.gguf", "there"] and os.listdir(tmp_path / "there") == ["model.gguf"]


def test_the_model_has_the_name_of_its_directory(tmp_path):
    file = tmp_path / "model.gguf"
    assert convert(".", file, "--part", "llm", cwd=FIXTURES / "b/lyra").returncode == 0
    assert b"general.name\x08\0\0\0\x04\0\0\0\0\0\0\0lyra" in file.read_bytes()


def test_outputs_that_cannot_be_written_are_named(tmp_path):
    fails(convert(FIXTURES / "a/lyra", tmp_path), tmp_path, "directory")
    fails(convert(FIXTURES / "a/lyra", tmp_path / "nowhere/model.gguf"), "nowhere/model.gguf")
    fails(convert(tmp_path / "nothing", tmp_path / "model.gguf"), tmp_path / "nothing")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("arguments", [(), ("--type", "q9"), ("--part", "half"), ("--threads", "0")])
def test_wrong_usage_is_64(arguments, tmp_path):
    output = ("-o", tmp_path / "model.gguf") if arguments else ()
    is_wrong_usage(lyra("convert", FIXTURES / "a/lyra", *output, *arguments))


def test_other_files_are_refused(tmp_path):
    gguf = pytest.importorskip("gguf")
    other = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(other, "llama")
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fails(lyra("generate", "--model", other, "--prompt", "x"), other, '"llama"', "lyra convert")
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(b"GGUF" + bytes(range(256)))
    fails(lyra("inspect", noise), noise)
