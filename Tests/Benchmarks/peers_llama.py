"""llama.cpp as a peer, through llama-cpp-python's plain functions: peers_llama.py THREADS FOLDER.

Flags are llama.cpp's defaults, except for the number of threads and the length of the context: F16 keys and values,
flash attention and repacked weights as llama.cpp decides, mapped weights.
"""

import ctypes
import os
import sys

import llama_cpp as lc
import numpy as np

import random_gguf
from shape import LANGUAGE, prompt
from worker import serve, timed


class Language:
    def __init__(self, threads, folder):
        self.threads, self.folder = threads, folder
        self.context = None
        # The number of prompt tokens in the cache, which holds nothing else.
        self.held = 0

    def load(self, preset, weights, context):
        path = os.path.join(self.folder, f"{preset}-{weights}.gguf")
        if not os.path.exists(path):
            random_gguf.make(preset, weights, path)
        lc.llama_backend_init()
        model = lc.llama_model_load_from_file(path.encode(), lc.llama_model_default_params())
        if not model:
            raise RuntimeError(f"{path} was not loaded; stderr says why")
        parameters = lc.llama_context_default_params()
        parameters.n_ctx = context
        parameters.n_threads = parameters.n_threads_batch = self.threads
        self.context = lc.llama_init_from_model(model, parameters)
        if not self.context:
            raise RuntimeError(f"no context of {context} tokens was made; stderr says why")
        self.batch = parameters.n_batch
        self.vocabulary = LANGUAGE[preset]["vocabulary"]
        # The first run maps the weights and starts the threads.
        self.fill(32)
        self.next_token()
        features = lc.llama_print_system_info().decode().strip()
        return {"version": f"of llama-cpp-python {lc.__version__}", "features": features}

    def run(self, tokens):
        """Appends them to the cache and computes the logits of the last one."""
        for start in range(0, len(tokens), self.batch):
            part = tokens[start:start + self.batch]
            array = (lc.llama_token * len(part))(*part)
            status = lc.llama_decode(self.context, lc.llama_batch_get_one(array, len(part)))
            if status != 0:
                raise RuntimeError(f"llama_decode gave {status}")
        lc.llama_synchronize(self.context)

    def fill(self, count):
        lc.llama_memory_clear(lc.llama_get_memory(self.context), True)
        self.held = 0
        self.run(prompt(count, self.vocabulary))
        self.held = count

    def hold(self, after):
        """Fills or truncates the cache to `after` tokens of the prompt."""
        if self.held != after:
            self.fill(after)
        return {}

    def next_token(self):
        logits = ctypes.cast(lc.llama_get_logits_ith(self.context, -1), ctypes.POINTER(ctypes.c_float))
        token = int(np.ctypeslib.as_array(logits, (self.vocabulary,)).argmax())
        self.held = 0
        self.run([token])

    def prefill(self, tokens):
        return {"value": tokens / timed(lambda: self.fill(tokens))}

    def decode(self, after, tokens):
        self.hold(after)
        return {"value": tokens / timed(lambda: [self.next_token() for _ in range(tokens)])}


if __name__ == "__main__":
    language = Language(int(sys.argv[1]), sys.argv[2])
    serve({"load": language.load, "prefill": language.prefill, "hold": language.hold, "decode": language.decode})
