"""whisper.cpp as a peer, through pywhispercpp's plain functions: peers_whisper.py THREADS FOLDER.

Flags are whisper.cpp's defaults. It also projects the encoder's output for the decoder's cross-attention: 0.5 % of the
work, because the decoder has one layer here.
"""

import importlib.metadata
import os
import sys

import _pywhispercpp as library
import numpy as np

import random_whisper
from shape import ENCODER
from worker import serve, timed


class Encoder:
    def __init__(self, threads, folder):
        self.threads, self.folder = threads, folder

    def load(self, preset, weights):
        path = os.path.join(self.folder, f"whisper-{preset}-{weights}.bin")
        if not os.path.exists(path):
            random_whisper.make(preset, weights, path)
        self.context = library.whisper_init_from_file_with_params(path, library.whisper_context_default_params())
        sizes = ENCODER[preset]
        frames = 2 * sizes["positions"]
        window = np.random.default_rng(1).standard_normal((sizes["mels"], frames), np.float32)
        if library.whisper_set_mel(self.context, window, frames, sizes["mels"]) != 0:
            raise RuntimeError("whisper_set_mel failed; stderr says why")
        # The first run allocates memory and touches all weights.
        self.encode()
        features = library.whisper_print_system_info()
        return {"version": f"of pywhispercpp {importlib.metadata.version('pywhispercpp')}", "features": str(features)}

    def run(self):
        status = library.whisper_encode(self.context, 0, self.threads)
        if status != 0:
            raise RuntimeError(f"whisper_encode gave {status}")

    def encode(self):
        return {"value": timed(self.run)}


if __name__ == "__main__":
    encoder = Encoder(int(sys.argv[1]), sys.argv[2])
    serve({"load": encoder.load, "encode": encoder.encode})
