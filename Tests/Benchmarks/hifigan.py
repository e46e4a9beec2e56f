"""The unit vocoder (CodeHiFiGAN) as a plain PyTorch module, with its weight norms folded."""

from functools import reduce

import torch
from torch import nn
from torch.nn import functional as F

from shape import BLOCK_KERNELS, DILATIONS, UPSAMPLE_KERNELS, UPSAMPLE_RATES

SLOPE = 0.1


class ResidualBlock(nn.Module):
    def __init__(self, channels, kernel):
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=(kernel - 1) // 2 * dilation)
            for dilation in DILATIONS)
        self.plain = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2) for _ in DILATIONS)

    def forward(self, x):
        for dilated, plain in zip(self.dilated, self.plain):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class DurationPredictor(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.output = nn.Linear(width, 1)

    def forward(self, x):
        """x [1, units, width] → the logarithm of each unit's frames, [1, units, 1]"""
        for convolution, norm in zip(self.convolutions, self.norms):
            x = norm(F.relu(convolution(x.transpose(1, 2))).transpose(1, 2))
        return self.output(x)


class CodeHiFiGAN(nn.Module):
    def __init__(self, units, embedding, channels):
        super().__init__()
        self.units = nn.Embedding(units, embedding)
        self.durations = DurationPredictor(embedding)
        self.first = nn.Conv1d(embedding, channels, 7, padding=3)
        self.stages, self.blocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(UPSAMPLE_RATES, UPSAMPLE_KERNELS):
            self.stages.append(
                nn.ConvTranspose1d(channels, channels // 2, kernel, stride=rate, padding=(kernel - rate) // 2))
            channels //= 2
            self.blocks.append(nn.ModuleList(ResidualBlock(channels, taps) for taps in BLOCK_KERNELS))
        self.last = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, units, frames):
        """units [units], frames of each [units] → samples [320 · sum of frames]. The predicted durations of random
        weights are meaningless: they are computed, but `frames` is used."""
        x = self.units(units)[None]
        self.durations(x)
        x = self.first(x.repeat_interleave(frames, 1).transpose(1, 2))
        for stage, blocks in zip(self.stages, self.blocks):
            x = stage(F.leaky_relu(x, SLOPE))
            x = reduce(torch.add, [block(x) for block in blocks]) / len(blocks)
        return torch.tanh(self.last(F.leaky_relu(x)))[0, 0]
