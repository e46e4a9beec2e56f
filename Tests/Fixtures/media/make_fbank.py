"""Makes the log mel filter banks of a test signal, [frames, bands] float32.

Needs kaldi-native-fbank, torchaudio and numpy.

    python make_fbank.py

fbank_kaldi.f32: kaldi's own, of 80 bands; it refuses 128, some of which see no bin of the transform.
fbank_torchaudio.f32: of 128 bands, by torchaudio's version of kaldi's, which ImageBind uses.
"""
import os

import kaldi_native_fbank as kaldi
import numpy as np
import torch
import torchaudio

HERE = os.path.dirname(os.path.abspath(__file__))


def signal(count):
    """Integers only, so that every language makes the same samples."""
    i = np.arange(count, dtype=np.int64)
    return (((i * i * 31 + i * 977) % 20_011) - 10_000) / np.float32(16_384) + ((i // 40) % 2) * np.float32(0.125)


def main():
    options = kaldi.FbankOptions()
    options.frame_opts.samp_freq = 16_000
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hanning"
    options.frame_opts.frame_length_ms, options.frame_opts.frame_shift_ms = 25, 10
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 20
    options.use_energy = False
    fbank = kaldi.OnlineFbank(options)
    fbank.accept_waveform(16_000, signal(2400).astype(np.float32).tolist())
    fbank.input_finished()
    rows = np.stack([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])
    rows.astype("<f4").tofile(os.path.join(HERE, "fbank_kaldi.f32"))
    rows = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(signal(2400).astype(np.float32))[None], htk_compat=True, sample_frequency=16_000,
        use_energy=False, window_type="hanning", num_mel_bins=128, dither=0.0, frame_length=25, frame_shift=10)
    rows.numpy().astype("<f4").tofile(os.path.join(HERE, "fbank_torchaudio.f32"))


if __name__ == "__main__":
    main()
