"""Makes losses.safetensors, spectra.safetensors and adamw.safetensors beside this script with PyTorch.

    python make_training.py

Needs torch, numpy and safetensors; they were made with torch 2.13.0 on a CPU. Losses and their gradients are computed in
float64 from inputs that floats hold exactly; AdamW in float32, as training does.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
GENERATOR = torch.Generator().manual_seed(20)
INTEGERS = np.random.default_rng(20)


def normal(*shape, factor=1.0):
    return torch.randn(shape, generator=GENERATOR) * factor


def save(name, tensors):
    save_file({n: t.detach().contiguous() for n, t in tensors.items()}, os.path.join(HERE, name + ".safetensors"))


def with_gradient(name, x, function):
    """→ the input in float32, the loss and its gradient in float64"""
    x64 = x.double().requires_grad_()
    loss = function(x64)
    return {name + ".in": x, name + ".loss": loss, name + ".grad": torch.autograd.grad(loss, x64)[0]}


def ctc(targets, classes):
    def loss(z):
        frames, count = z.shape[0], len(targets)
        total = F.ctc_loss(
            z.log_softmax(-1)[:, None], targets[None], torch.tensor([frames]), torch.tensor([count]),
            blank=classes - 1, reduction="sum")
        return total / max(count, 1)
    return loss


def losses():
    tensors = {}
    # frames, classes, targets: repeats that a blank must part; as many frames as the shortest path has; no targets.
    for name, frames, classes, targets in (
        ("ctc_repeats", 33, 9, [3, 3, 0, 7, 7, 7, 1]), ("ctc_tight", 10, 5, [3, 3, 0, 1, 1, 0, 2, 3]),
        ("ctc_empty", 6, 4, []), ("ctc_one", 1, 6, [2]), ("ctc_long", 150, 21, INTEGERS.integers(0, 20, 40).tolist()),
    ):
        targets = torch.tensor(targets, dtype=torch.int64)
        tensors |= with_gradient(name, normal(frames, classes, factor=2), ctc(targets, classes))
        tensors[name + ".targets"] = targets
    labels = torch.from_numpy(INTEGERS.integers(0, 101, 12))
    labels[[0, 5, 6]] = -100
    tensors |= with_gradient("ce", normal(12, 101, factor=3), lambda z: F.cross_entropy(z, labels, reduction="sum"))
    tensors["ce.targets"] = labels
    save("losses", tensors)


def magnitudes(x, length, hop, window):
    """Parallel WaveGAN's stft: [bins, frames]"""
    spectrum = torch.stft(x, length, hop, window, torch.hann_window(window, dtype=x.dtype), return_complex=True)
    return torch.sqrt(torch.clamp(spectrum.real**2 + spectrum.imag**2, min=1e-7))


def stft_loss(y, resolutions):
    def loss(x):
        total = 0
        for resolution in resolutions:
            a, b = magnitudes(x, *resolution), magnitudes(y, *resolution)
            total = total + torch.norm(b - a) / torch.norm(b) + F.l1_loss(torch.log(b), torch.log(a))
        return total / len(resolutions)
    return loss


def mel_filters(mels, length, rate, highest):
    """Slaney's triangles, of area 1: [mels, bins]"""
    def to_mel(f): return f * 3 / 200 if f < 1000 else 15 + np.log(f / 1000) * 27 / np.log(6.4)
    def to_hertz(m): return m * 200 / 3 if m < 15 else 1000 * np.exp((m - 15) * np.log(6.4) / 27)
    edges = [to_hertz(m) for m in np.linspace(0, to_mel(highest), mels + 2)]
    bins = np.linspace(0, rate / 2, length // 2 + 1)
    rows = []
    for low, centre, high in zip(edges, edges[1:], edges[2:]):
        triangle = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
        rows.append(np.maximum(triangle, 0) * 2 / (high - low))
    return torch.from_numpy(np.array(rows))


def mel_loss(y, mels, length, hop, window, rate, highest):
    filters = mel_filters(mels, length, rate, highest)

    def log_mel(x):
        """HiFi-GAN's mel_spectrogram"""
        x = F.pad(x[None, None], ((length - hop) // 2,) * 2, mode="reflect")[0, 0]
        spectrum = torch.stft(
            x, length, hop, window, torch.hann_window(window, dtype=x.dtype), center=False, return_complex=True)
        spectrum = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
        return torch.log(torch.clamp(filters @ spectrum, min=1e-5))
    return lambda x: F.l1_loss(log_mel(y), log_mel(x))


def spectra():
    samples = 2500
    time = torch.arange(samples) / 16000
    x = 0.3 * torch.sin(2 * torch.pi * 440 * time) + normal(samples, factor=0.05)
    y = 0.4 * torch.sin(2 * torch.pi * 450 * time) + normal(samples, factor=0.04)
    y[1800:] = 0  # silence: powers and mel values below their least
    tensors = {"target": y}
    y = y.double()
    paper = [(1024, 120, 600), (2048, 240, 1200), (512, 50, 240)]
    tensors |= with_gradient("stft", x, stft_loss(y, paper))
    tensors |= with_gradient("mel", x, mel_loss(y, 80, 1024, 256, 1024, 16000, 8000))
    tensors |= with_gradient("mel_narrow", x, mel_loss(y, 20, 400, 160, 320, 16000, 7600))
    for name in ("mel", "mel_narrow"): del tensors[name + ".in"]
    save("spectra", tensors)


def adamw():
    """Two groups, clipping, and a cosine schedule with warm-up over 8 steps, of which the parameters are kept."""
    a, b = normal(5, 7).requires_grad_(), normal(37).requires_grad_()
    optimizer = torch.optim.AdamW(
        [{"params": [a], "lr": 1e-2, "weight_decay": 0.1},
         {"params": [b], "lr": 3e-3, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.0}])
    factor = lambda step: step / 2 if step < 2 else 0.5 * (1 + np.cos(np.pi * (step - 2) / 6))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    tensors = {"a.0": a.detach().clone(), "b.0": b.detach().clone()}
    for step in range(1, 9):
        a.grad, b.grad = normal(5, 7, factor=0.5 ** step), normal(37, factor=0.2)
        tensors |= {f"a.grad.{step}": a.grad.clone(), f"b.grad.{step}": b.grad.clone()}
        tensors[f"norm.{step}"] = torch.nn.utils.clip_grad_norm_([a, b], 1.0)
        optimizer.step()
        schedule.step()
        tensors |= {f"a.{step}": a.detach().clone(), f"b.{step}": b.detach().clone()}
    save("adamw", tensors)


if __name__ == "__main__":
    losses()
    spectra()
    adamw()
