"""PyTorch as a peer, with transformers' models and its scaled-dot-product attention: peers_torch.py THREADS."""

import inspect
import sys

import peft
import torch
import transformers
from torch import nn
from transformers import DynamicCache, Qwen2Config, Qwen2ForCausalLM, Qwen2Model, WhisperConfig
from transformers.models.qwen2_vl import modeling_qwen2_vl as qwen2_vl
from transformers.models.whisper.modeling_whisper import WhisperEncoder

import shape
from hifigan import CodeHiFiGAN
from worker import serve, timed

TYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
# Newer releases have another name for the argument.
CACHE = next(
    name for name in ("cache", "past_key_values") if name in inspect.signature(Qwen2ForCausalLM.forward).parameters)


def build(model, config, dtype):
    """→ the model with the random weights of its initialization."""
    return model._from_config(config, dtype=dtype, attn_implementation="sdpa").eval()


class Language:
    def __init__(self, preset, dtype):
        sizes = shape.LANGUAGE[preset]
        self.vocabulary = sizes["vocabulary"]
        config = Qwen2Config(
            vocab_size=self.vocabulary, hidden_size=sizes["hidden"], intermediate_size=sizes["inner"],
            num_hidden_layers=sizes["layers"], num_attention_heads=sizes["heads"],
            num_key_value_heads=sizes["kv_heads"], rms_norm_eps=shape.NORM_EPSILON, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": shape.ROPE_THETA})
        self.model = build(Qwen2ForCausalLM, config, dtype)

    def warm_up(self):
        self.fill(32)
        self.next_token()

    def run(self, tokens):
        self.logits = self.model(
            input_ids=torch.tensor([tokens]), use_cache=True, logits_to_keep=1, **{CACHE: self.cache}).logits[0, -1]

    def fill(self, count):
        # The number of prompt tokens in the cache, which holds nothing else.
        self.held = 0
        self.cache = DynamicCache()
        self.run(shape.prompt(count, self.vocabulary))
        self.held = count

    def hold(self, after):
        """Fills or truncates the cache to `after` tokens of the prompt."""
        if self.held != after:
            self.fill(after)
        return {}

    def next_token(self):
        self.held = 0
        self.run([int(self.logits.argmax())])

    def prefill(self, tokens):
        return {"value": tokens / timed(lambda: self.fill(tokens))}

    def decode(self, after, tokens):
        self.hold(after)
        return {"value": tokens / timed(lambda: [self.next_token() for _ in range(tokens)])}


class Generator:
    """The speech generator: a token's row, repeated, through causal layers to the scores of the units."""

    def __init__(self, preset, dtype):
        sizes, hidden = shape.GENERATOR[preset], shape.LANGUAGE[preset]["hidden"]
        width, heads = sizes["width"], sizes["heads"]
        # The layers take rows, not tokens.
        config = Qwen2Config(
            vocab_size=1, hidden_size=width, intermediate_size=sizes["inner"], num_hidden_layers=sizes["layers"],
            num_attention_heads=heads, num_key_value_heads=heads, rms_norm_eps=shape.NORM_EPSILON, pad_token_id=None,
            rope_parameters={"rope_type": "default", "rope_theta": shape.ROPE_THETA})
        self.layers = build(Qwen2Model, config, dtype)
        self.enter, self.leave = nn.Linear(hidden, width).to(dtype), nn.Linear(width, sizes["units"] + 1).to(dtype)
        self.row = torch.randn(1, 1, hidden, dtype=dtype)

    def warm_up(self):
        self.generate(tokens=1)

    def append(self, cache):
        rows = self.enter(self.row.repeat_interleave(shape.POSITIONS_PER_TOKEN, 1))
        self.leave(self.layers(inputs_embeds=rows, use_cache=True, **{CACHE: cache}).last_hidden_state).argmax(-1)

    def generate(self, tokens):
        cache = DynamicCache()
        return {"value": timed(lambda: [self.append(cache) for _ in range(tokens)]) / tokens * 1e3}


class Encoder:
    """Whisper's encoder, on a window of mel frames."""

    def __init__(self, preset, dtype):
        sizes = shape.ENCODER[preset]
        config = WhisperConfig(
            d_model=sizes["width"], encoder_layers=sizes["layers"], encoder_attention_heads=sizes["heads"],
            encoder_ffn_dim=sizes["inner"], num_mel_bins=sizes["mels"], max_source_positions=sizes["positions"])
        self.model = build(WhisperEncoder, config, dtype)
        self.window = torch.randn(1, sizes["mels"], 2 * sizes["positions"], dtype=dtype)

    def warm_up(self):
        self.encode()

    def encode(self):
        return {"value": timed(lambda: self.model(self.window))}


class Vision:
    """Qwen2-VL's tower, on the patches of a picture."""

    def __init__(self, preset, dtype):
        sizes = shape.VISION[preset]
        config = qwen2_vl.Qwen2VLVisionConfig(
            depth=sizes["layers"], embed_dim=sizes["width"], num_heads=sizes["heads"], hidden_size=sizes["output"],
            patch_size=shape.PATCH, temporal_patch_size=shape.TEMPORAL_PATCH, spatial_merge_size=shape.MERGE)
        self.model = build(qwen2_vl.Qwen2VisionTransformerPretrainedModel, config, dtype)
        rows, columns = shape.patch_grid(*shape.PICTURE)
        self.patches = torch.randn(rows * columns, 3 * shape.TEMPORAL_PATCH * shape.PATCH ** 2, dtype=dtype)
        self.grid = torch.tensor([[1, rows, columns]])

    def warm_up(self):
        self.see()

    def see(self):
        return {"value": timed(lambda: self.model(self.patches, grid_thw=self.grid))}


class Vocoder:
    def __init__(self, preset, dtype):
        self.model = CodeHiFiGAN(**shape.VOCODER[preset]).to(dtype).eval()

    def warm_up(self):
        self.vocode(units=10, seconds=2)

    def vocode(self, units, seconds):
        """Vocodes `units` units, spread over `seconds` of speech."""
        frames = max(units, round(seconds * shape.FRAMES_PER_SECOND))
        spread = torch.full((units,), frames // units)
        spread[:frames % units] += 1
        ids = torch.arange(units) * 37 % self.model.units.num_embeddings
        return {"value": frames / shape.FRAMES_PER_SECOND / timed(lambda: self.model(ids, spread))}


def product_time(dtype):
    """→ the seconds of a product of two square matrices, the best of three after a first"""
    factors = [torch.randn(512, 512).to(dtype) for _ in range(2)]
    torch.mm(*factors)
    return min(timed(lambda: torch.mm(*factors)) for _ in range(3))


class Training:
    """Training steps of a Qwen2: forward pass, cross-entropy of every token, gradients, AdamW. Eager."""

    def __init__(self, preset, dtype):
        sizes, self.dtype, self.trained = shape.TRAINING[preset], dtype, None
        self.vocabulary = sizes["vocabulary"]
        self.config = Qwen2Config(
            vocab_size=self.vocabulary, hidden_size=sizes["hidden"], intermediate_size=sizes["inner"],
            num_hidden_layers=sizes["layers"], num_attention_heads=sizes["heads"],
            num_key_value_heads=sizes["kv_heads"], rms_norm_eps=shape.NORM_EPSILON, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": shape.ROPE_THETA})

    def warm_up(self):
        pass

    def choose(self, trained):
        """Makes the model, once, and takes the faster of F32 and BF16 autocast. Without instructions for BF16 a step of
        autocast takes minutes, so it is tried only where a product in BF16 is not slower than one in F32."""
        if self.trained != trained:
            self.trained = trained
            with torch.inference_mode(False):
                self.make(trained)
                ways = (False, True) if product_time(torch.bfloat16) < product_time(torch.float32) else (False,)
                self.autocast = min(ways, key=self.typical)
        return {}

    def make(self, trained):
        model = build(Qwen2ForCausalLM, self.config, self.dtype)
        if trained == "lora":
            modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
            model = peft.get_peft_model(
                model, peft.LoraConfig(r=shape.LORA_RANK, lora_alpha=16, target_modules=modules))
        self.model = model.train()
        self.optimizer = torch.optim.AdamW([p for p in self.model.parameters() if p.requires_grad], lr=1e-6)
        count = shape.TRAINING_TOKENS * shape.TRAINING_SAMPLES
        ids = torch.tensor(shape.prompt(count + 1, self.vocabulary))
        self.ids, self.targets = ids[:-1].view(shape.TRAINING_SAMPLES, -1), ids[1:].clone()

    def typical(self, autocast):
        """→ the seconds of a step, the better of two after a first"""
        self.step(autocast)
        return min(timed(lambda: self.step(autocast)) for _ in range(2))

    def step(self, autocast):
        with torch.enable_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = self.model(input_ids=self.ids, use_cache=False).logits
            loss = nn.functional.cross_entropy(logits.view(-1, self.vocabulary).float(), self.targets)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def train(self):
        with torch.inference_mode(False):
            return {"value": timed(lambda: self.step(self.autocast))}


class Parts:
    """The loaded network, and the requests that it answers."""

    classes = {
        "language": Language, "encoder": Encoder, "vision": Vision, "generator": Generator, "vocoder": Vocoder,
        "training": Training}

    def load(self, part, preset, weights):
        torch.manual_seed(1)
        self.part = self.classes[part](preset, TYPES[weights])
        # The first run allocates memory and chooses kernels.
        self.part.warm_up()
        versions = f"{torch.__version__}, transformers {transformers.__version__}"
        return {"version": versions, "features": torch.backends.cpu.get_cpu_capability()}

    def ask(self, name):
        return lambda **request: getattr(self.part, name)(**request)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    parts = Parts()
    with torch.inference_mode():
        names = ("prefill", "hold", "decode", "encode", "see", "generate", "vocode", "choose", "train")
        serve({"load": parts.load, **{name: parts.ask(name) for name in names}})
