"""Makes this folder's checkpoints with PyTorch and transformers 5, and what they answer: python make_qwen2vl.py

Two small random Qwen2-VLs in Hugging Face's layouts. `published` is like the release on the hub: text keys at the top
level of config.json, tensors `model.*`, `visual.*` and `lm_head.weight`, vocab.json and merges.txt. `newer` is like
what transformers writes since 4.52: `text_config`, tensors `model.language_model.*` and `model.visual.*` in two shards,
tied embeddings, and tokenizer.json alone.

`adapters` holds adapters of `published` that PEFT made and saved, in each of its forms.

answers.safetensors holds a picture, and for each checkpoint the greedy tokens about it and about a turn of text, with
the first logits of each; for `published` also about the recording of fixture a, through the Whisper encoder and the
speech projector of that fixture, and with each adapter, as `adapter.NAME`, the tokens about the picture. All is computed in F32 from weights that are rounded to BF16. Needs torch,
transformers, peft, safetensors, pillow and numpy.
"""
import json
import os
import shutil

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration, WhisperConfig, WhisperFeatureExtractor)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.whisper.modeling_whisper import WhisperEncoder

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.dirname(HERE)
VOCABULARY = 2064
SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>"]
IDS = {text: 2048 + index for index, text in enumerate(SPECIALS)}
OPENING = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
ENDING = "<|im_end|>\n<|im_start|>assistant\n"
TOKENS = 12
tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(FIXTURES, "tokenizer/tokenizer.json"))


def make_model(layers, tied, seed):
    torch.manual_seed(seed)
    config = Qwen2VLConfig(
        text_config=dict(
            vocab_size=VOCABULARY, hidden_size=64, intermediate_size=128, num_hidden_layers=layers,
            num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-6, max_position_embeddings=32768,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
            tie_word_embeddings=tied, bos_token_id=IDS["<|endoftext|>"], eos_token_id=IDS["<|im_end|>"]),
        vision_config=dict(depth=2, embed_dim=32, num_heads=2, hidden_size=64, mlp_ratio=4),
        image_token_id=IDS["<|image_pad|>"], video_token_id=IDS["<|video_pad|>"],
        vision_start_token_id=IDS["<|vision_start|>"], vision_end_token_id=IDS["<|vision_end|>"],
        tie_word_embeddings=tied)
    model = Qwen2VLForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                # Norms are around 1, biases around 0.
                p.copy_(torch.randn_like(p) * 0.1 + (1 if name.endswith("weight") else 0))
            else:
                sharp = "q_proj" in name or "k_proj" in name
                # A tied head repeats the last token unless the layers outweigh its embedding.
                is_vocabulary = "embed_tokens" in name or "lm_head" in name
                gain = (0.8 if tied else 4) if is_vocabulary else 2 if sharp else 1
                p.copy_(torch.randn_like(p) * gain / p[0].numel() ** 0.5)
            p.copy_(p.to(torch.bfloat16))
    return model


def ids_of(text):
    return tokenizer(text, add_special_tokens=False).input_ids


def greedy(model, ids, embeddings, positions, **media):
    """→ tokens, the first logits, and the least gap between the best two scores."""
    out, first, gap = [], None, float("inf")
    following = int(positions.max()) + 1
    with torch.no_grad():
        while len(out) < TOKENS:
            hidden = model.model.language_model(inputs_embeds=embeddings, position_ids=positions).last_hidden_state
            logits = model.lm_head(hidden[0, -1])
            first = logits if first is None else first
            best = logits.topk(2)
            gap = min(gap, float(best.values[0] - best.values[1]))
            out.append(int(best.indices[0]))
            if out[-1] in (IDS["<|im_end|>"], IDS["<|endoftext|>"]):
                break
            embeddings = torch.cat([embeddings, model.get_input_embeddings()(torch.tensor([[out[-1]]]))], 1)
            positions = torch.cat([positions, torch.full((3, 1, 1), following + len(out) - 1)], 2)
    return torch.tensor(out), first, gap


def about_picture(model, picture):
    """transformers' own generate over its own processor's pixels, positions and prompt."""
    processed = Qwen2VLImageProcessorPil()(images=picture, return_tensors="pt")
    grid = processed["image_grid_thw"]
    count = int(grid.prod()) // 4
    text = OPENING + "<|vision_start|>" + "<|image_pad|>" * count + "<|vision_end|>Describe it." + ENDING
    ids = torch.tensor([ids_of(text)])
    types = (ids == IDS["<|image_pad|>"]).int()
    with torch.no_grad():
        made = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=processed["pixel_values"],
            image_grid_thw=grid, mm_token_type_ids=types, do_sample=False, max_new_tokens=TOKENS,
            eos_token_id=[IDS["<|im_end|>"], IDS["<|endoftext|>"]], output_logits=True, return_dict_in_generate=True)
    best = torch.stack(made.logits)[:, 0].topk(2).values
    return made.sequences[0, ids.shape[1]:], made.logits[0][0], float((best[:, 0] - best[:, 1]).min())


def about_text(model, text):
    ids = torch.tensor([ids_of(OPENING + text + ENDING)])
    positions = torch.arange(ids.shape[1]).view(1, 1, -1).expand(3, 1, -1)
    with torch.no_grad():
        embeddings = model.get_input_embeddings()(ids)
    return greedy(model, ids, embeddings, positions)


def about_speech(model, text):
    """The recording of fixture a through Whisper's encoder, groups of five positions and the projector's MLP."""
    a = os.path.join(FIXTURES, "a")
    weights = {}
    for shard in ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"):
        weights |= load_file(os.path.join(a, "lyra", shard))
    encoder = WhisperEncoder(WhisperConfig.from_pretrained(os.path.join(a, "model_zoo/audio/whisper-tiny"))).eval()
    prefix = "model.speech_tower.speech_tower."
    encoder.load_state_dict({n.removeprefix(prefix): t.float() for n, t in weights.items() if n.startswith(prefix)})
    extractor = WhisperFeatureExtractor.from_pretrained(os.path.join(a, "model_zoo/audio/whisper-tiny"))
    pcm = load_file(os.path.join(a, "cases/speech_short.safetensors"))["in.pcm"].numpy()
    mel = extractor(raw_speech=pcm, sampling_rate=16000, return_tensors="pt")["input_features"]
    projector = torch.load(os.path.join(a, "lyra/speech_lora/non_lora_trainables.bin"), weights_only=True)
    projector = {name.split("mm_speech_projector.")[1]: t.float() for name, t in projector.items()}
    with torch.no_grad():
        x = encoder(mel).last_hidden_state[0].reshape(300, -1)
        x = torch.relu(x @ projector["linear1.weight"].T + projector["linear1.bias"])
        x = x @ projector["linear2.weight"].T + projector["linear2.bias"]
        embed = lambda text: model.get_input_embeddings()(torch.tensor([ids_of(text)]))
        embeddings = torch.cat([embed(OPENING), x[None], embed("\n" + text + ENDING)], 1)
    positions = torch.arange(embeddings.shape[1]).view(1, 1, -1).expand(3, 1, -1)
    return greedy(model, None, embeddings, positions)


ATTENTION, MLP = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
# Each with whether it is saved as safetensors, else as adapter_model.bin.
ADAPTERS = {
    "plain": (True, dict(r=2, lora_alpha=6, target_modules=ATTENTION + MLP)),
    "pickled_rslora": (False, dict(r=4, lora_alpha=5, target_modules=ATTENTION, use_rslora=True)),
    "patterns": (True, dict(
        r=2, lora_alpha=4, target_modules=ATTENTION + MLP,
        rank_pattern={"layers.1.self_attn.q_proj": 3, "q_proj": 1, "^model.language_model.layers.2.mlp.up_proj": 5},
        alpha_pattern={"down_proj": 9, "self_attn.v_proj": 1})),
    "whole_modules": (False, dict(
        r=2, lora_alpha=4, target_modules=ATTENTION, modules_to_save=["norm"])),
}


def about_picture_with(name, picture, seed):
    """A fresh `published` with a random adapter, which PEFT saves."""
    as_safetensors, options = ADAPTERS[name]
    model = get_peft_model(make_model(3, False, 5), LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter, p in model.named_parameters():
            if p.requires_grad:
                p.copy_(torch.randn_like(p) * 0.2 if ".lora_" in parameter else p + 0.1 * torch.randn_like(p))
                p.copy_(p.to(torch.bfloat16))
    folder = os.path.join(HERE, "adapters", name)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, safe_serialization=as_safetensors)
    os.remove(os.path.join(folder, "README.md"))
    compact(folder)
    return about_picture(model, picture)


def compact(folder):
    """Stores the tensors in BF16, to which they are rounded already."""
    path = os.path.join(folder, "adapter_model.safetensors")
    if os.path.exists(path):
        tensors = {n: t.to(torch.bfloat16) for n, t in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    else:
        path = os.path.join(folder, "adapter_model.bin")
        torch.save({n: t.to(torch.bfloat16) for n, t in torch.load(path, weights_only=True).items()}, path)


def put(folder, name, value):
    with open(os.path.join(folder, name), "w") as file:
        json.dump(value, file, indent=1)


def write_common(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    put(folder, "generation_config.json", {
        "bos_token_id": IDS["<|endoftext|>"], "eos_token_id": [IDS["<|im_end|>"], IDS["<|endoftext|>"]],
        "pad_token_id": IDS["<|endoftext|>"], "do_sample": True, "temperature": 0.01, "top_k": 1, "top_p": 0.001,
        "repetition_penalty": 1.0})
    put(folder, "preprocessor_config.json", {
        "min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
        "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2VLProcessor"})


def published_name(name):
    """model.language_model.x → model.x, model.visual.x → visual.x, as in the release."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def write_published(model, folder):
    write_common(folder)
    text, vision = model.config.text_config, model.config.vision_config
    put(folder, "config.json", {
        "architectures": ["Qwen2VLForConditionalGeneration"], "attention_dropout": 0.0,
        "bos_token_id": IDS["<|endoftext|>"], "eos_token_id": IDS["<|im_end|>"],
        "vision_start_token_id": IDS["<|vision_start|>"], "vision_end_token_id": IDS["<|vision_end|>"],
        "vision_token_id": IDS["<|vision_pad|>"], "image_token_id": IDS["<|image_pad|>"],
        "video_token_id": IDS["<|video_pad|>"], "hidden_act": "silu", "hidden_size": text.hidden_size,
        "initializer_range": 0.02, "intermediate_size": text.intermediate_size, "max_position_embeddings": 32768,
        "max_window_layers": 28, "model_type": "qwen2_vl", "num_attention_heads": text.num_attention_heads,
        "num_hidden_layers": text.num_hidden_layers, "num_key_value_heads": text.num_key_value_heads,
        "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": False,
        "torch_dtype": "bfloat16", "transformers_version": "4.41.2", "use_cache": True, "use_sliding_window": False,
        "vision_config": {
            "depth": vision.depth, "embed_dim": vision.embed_dim, "mlp_ratio": 4, "num_heads": vision.num_heads,
            "in_chans": 3, "hidden_size": vision.hidden_size, "patch_size": 14, "spatial_merge_size": 2,
            "spatial_patch_size": 14, "temporal_patch_size": 2},
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "vocab_size": VOCABULARY})
    tensors = {published_name(n): t.to(torch.bfloat16).contiguous() for n, t in model.state_dict().items()}
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(os.path.join(FIXTURES, "tokenizer", name), os.path.join(folder, name))


def write_newer(model, folder):
    write_common(folder)
    model.config.architectures, model.config.dtype = ["Qwen2VLForConditionalGeneration"], "bfloat16"
    model.config.save_pretrained(folder)
    tensors = {n: t.to(torch.bfloat16).contiguous() for n, t in model.state_dict().items() if n != "lm_head.weight"}
    names, files = sorted(tensors), ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    halves = names[:len(names) // 2], names[len(names) // 2:]
    for file, half in zip(files, halves):
        save_file({n: tensors[n] for n in half}, os.path.join(folder, file), metadata={"format": "pt"})
    put(folder, "model.safetensors.index.json", {
        "metadata": {"total_size": sum(t.numel() * 2 for t in tensors.values())},
        "weight_map": {n: file for file, half in zip(files, halves) for n in half}})
    shutil.copyfile(os.path.join(FIXTURES, "tokenizer/tokenizer.json"), os.path.join(folder, "tokenizer.json"))
    put(folder, "tokenizer_config.json", {
        "backend": "tokenizers", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "tokenizer_class": "Qwen2Tokenizer", "model_max_length": 32768})


def main():
    yy, xx = np.mgrid[0:84, 0:112]
    pixels = np.stack([xx * 255 // 111, yy * 255 // 83, ((xx // 8 + yy // 8) % 2) * 255], -1).astype(np.uint8)
    picture = Image.fromarray(pixels)
    answers = {"picture": torch.from_numpy(pixels)}
    for name, model, write in (
            ("published", make_model(3, False, 5), write_published), ("newer", make_model(2, True, 6), write_newer)):
        write(model, os.path.join(HERE, name))
        cases = {"picture": about_picture(model, picture), "text": about_text(model, "Hello! Who are you?")}
        if name == "published":
            cases["speech"] = about_speech(model, "What is said?")
        for case, (ids, logits, gap) in cases.items():
            print(name, case, ids.tolist(), gap)
            assert gap > 0.02, "two tokens score nearly the same; choose another seed"
            answers[f"{name}.{case}.ids"], answers[f"{name}.{case}.first_logits"] = ids.long(), logits.float()
        assert answers[f"{name}.picture.ids"].tolist() != answers[f"{name}.text.ids"].tolist()
    for name in ADAPTERS:
        # The first seed with which no two tokens score nearly the same.
        for seed in range(8, 40):
            ids, logits, gap = about_picture_with(name, picture, seed)
            if gap > 0.02 and ids.tolist() != answers["published.picture.ids"].tolist():
                break
        print("adapter", name, seed, ids.tolist(), gap)
        answers[f"adapter.{name}.ids"], answers[f"adapter.{name}.first_logits"] = ids.long(), logits.float()
    save_file({n: t.contiguous() for n, t in answers.items()}, os.path.join(HERE, "answers.safetensors"))


if __name__ == "__main__":
    main()
