"""The sizes of the networks of Lyra_Mini_3B, and of lyra's preset `tiny` for trials in seconds."""

LANGUAGE = {
    "mini": {"layers": 28, "hidden": 1536, "inner": 8960, "heads": 12, "kv_heads": 2, "vocabulary": 151_936},
    "tiny": {"layers": 4, "hidden": 64, "inner": 128, "heads": 4, "kv_heads": 2, "vocabulary": 512},
}
# lyra's `bench train --preset small`, and tiny.
TRAINING = {
    "mini": {"layers": 8, "hidden": 512, "inner": 1408, "heads": 8, "kv_heads": 2, "vocabulary": 8192},
    "tiny": LANGUAGE["tiny"],
}
TRAINING_TOKENS, TRAINING_SAMPLES, LORA_RANK = 512, 4, 64
ENCODER = {
    "mini": {"layers": 32, "width": 1280, "inner": 5120, "heads": 20, "mels": 128, "positions": 1500},
    "tiny": {"layers": 2, "width": 48, "inner": 96, "heads": 3, "mels": 80, "positions": 1500},
}
VISION = {
    "mini": {"layers": 32, "width": 1280, "heads": 16, "output": 1536},
    "tiny": {"layers": 2, "width": 32, "heads": 2, "output": 64},
}
# Units exclude the blank.
GENERATOR = {
    "mini": {"layers": 2, "width": 4096, "heads": 32, "inner": 11_008, "units": 1000},
    "tiny": {"layers": 2, "width": 32, "heads": 2, "inner": 64, "units": 100},
}
VOCODER = {
    "mini": {"units": 1000, "embedding": 128, "channels": 512},
    "tiny": {"units": 100, "embedding": 16, "channels": 32},
}
PATCH, TEMPORAL_PATCH, MERGE = 14, 2, 2
UPSAMPLE_RATES, UPSAMPLE_KERNELS = (5, 4, 4, 2, 2), (11, 8, 8, 4, 4)
BLOCK_KERNELS, DILATIONS = (3, 7, 11), (1, 3, 5)
POSITIONS_PER_TOKEN = 25
FRAMES_PER_SECOND = 50
ROPE_THETA, NORM_EPSILON = 1e6, 1e-6
PICTURE = (1024, 768)


def patch_grid(width, height):
    """→ the rows and columns of patches of an image of moderate size: each side is rounded to a multiple of a merged
    patch."""
    side = PATCH * MERGE
    return round(height / side) * MERGE, round(width / side) * MERGE


def prompt(count, vocabulary):
    """Token ids that are spread over the whole vocabulary, as in lyra's benchmark."""
    return [index * 7919 % vocabulary for index in range(count)]
