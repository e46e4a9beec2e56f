"""Makes values.gguf with the package gguf, the format's own library. Needs gguf and numpy.

    python make_gguf.py

The file has every type of value and of tensor that lyra reads; GGUFTests.swift has the same numbers.
"""
import os

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
VALUES = gguf.GGUFValueType
TYPES = gguf.GGMLQuantizationType
SCALARS = {"UINT8": 200, "INT8": -100, "UINT16": 60000, "INT16": -30000, "UINT32": 4000000000, "INT32": -2000000000,
           "UINT64": 1 << 63, "INT64": -(1 << 62), "FLOAT32": 0.1, "FLOAT64": 0.1, "BOOL": True, "STRING": "größe\n"}
ARRAYS = {"UINT8": [0, 255], "INT8": [-128, 127], "UINT16": [0, 65535], "INT16": [-32768, 32767],
          "UINT32": [0, 4294967295], "INT32": [-2147483648, 2147483647], "UINT64": [0, 1 << 62],
          "INT64": [-(1 << 62), 1 << 62], "FLOAT32": [1.5, -0.25, float("inf")], "FLOAT64": [0.1, -1e300],
          "BOOL": [True, False, True], "STRING": ["a", "", "Ġhello", "北京"]}


def metadata(writer):
    writer.add_custom_alignment(64)
    for name, value in SCALARS.items():
        writer.add_key_value("scalar." + name.lower(), value, VALUES[name])
    for name, value in ARRAYS.items():
        writer.add_key_value("array." + name.lower(), value, VALUES.ARRAY, sub_type=VALUES[name])


def tensors(writer):
    integers = np.array([[1, -2, 3], [4, 5, -6]])
    for name in ["float64", "float32", "float16", "int64", "int32", "int16", "int8"]:
        writer.add_tensor("types." + name, integers.astype(name))
    halves = (integers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    writer.add_tensor("types.bfloat16", halves.view(np.uint8), raw_dtype=TYPES.BF16)
    # Numbers that the quantization blocks hold exactly: with scales of 1 and 2, and of -1 and 3.
    q8_0 = np.concatenate([np.linspace(-127, 127, 32).round(), 2 * np.linspace(127, -127, 32).round()])
    q4_0 = np.concatenate([np.arange(32) % 16 - 7, -3 * (np.arange(32) % 16 - 7)])
    for name, values in {"q8_0": q8_0, "q4_0": q4_0}.items():
        blocks = gguf.quants.quantize(values.astype(np.float32).reshape(2, 32), TYPES[name.upper()])
        writer.add_tensor("blocks." + name, blocks, raw_dtype=TYPES[name.upper()])
    for name in ["q4_k", "q6_k"]:
        size = gguf.GGML_QUANT_SIZES[TYPES[name.upper()]][1]
        blocks = (np.arange(2 * size) % 256).astype(np.uint8).reshape(2, size)
        writer.add_tensor("blocks." + name, blocks, raw_dtype=TYPES[name.upper()])
    writer.add_tensor("shapes.scalar", np.array(1.5, np.float32))
    writer.add_tensor("shapes.odd", np.arange(7, dtype=np.int8))
    writer.add_tensor("shapes.three", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    writer.add_tensor("shapes.four", np.arange(6, dtype=np.int16).reshape(1, 2, 1, 3))


def main():
    writer = gguf.GGUFWriter(os.path.join(HERE, "values.gguf"), "lyra")
    metadata(writer)
    tensors(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
