"""The C library's random numbers, which synthesizers use for breath and noise."""

import ctypes


def seed_random_numbers(seed: int):
    ctypes.CDLL("libc.so.6").srand(ctypes.c_uint(seed & 0x7FFFFFFF))
