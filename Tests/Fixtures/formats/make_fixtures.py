"""Writes the fixtures of LyraFormatsTests with PyTorch and safetensors: python make_fixtures.py (in this folder)."""
import io, pickle, struct
from collections import OrderedDict
import torch
from safetensors.torch import save_file

shared = torch.arange(12, dtype=torch.float32)
types = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
         "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8}
flat = {"types." + name: torch.tensor([[1, -2, 3], [4, 5, -6]] if name != "u8" else [[1, 2, 3], [4, 5, 255]]).to(t)
        for name, t in types.items()}
flat["types.bool"] = torch.tensor([True, False, True])
flat["views.first"], flat["views.second"] = shared[:4].view(2, 2), shared[4:10]
flat["scalar"], flat["empty"] = torch.tensor(1.5), torch.zeros(0, 3)
flat["unit.dims"] = torch.arange(4.0).view(1, 4, 1)

save_file({n: t.clone() for n, t in flat.items()}, "values.safetensors", metadata={"format": "pt", "note": "größe"})

module = torch.nn.Linear(3, 2)
with torch.no_grad():
    module.weight.copy_(torch.arange(6.0).view(2, 3)); module.bias.copy_(torch.tensor([0.5, -0.5]))
saved = {
    "types": {n: flat["types." + n] for n in [*types, "bool"]},
    "views": {"first": flat["views.first"], "second": flat["views.second"]},
    "scalar": flat["scalar"], "empty": flat["empty"],
    "unit.dims": torch.as_strided(torch.arange(4.0), (1, 4, 1), (77, 1, 5)),
    "module": module.state_dict(), "parameter": module.weight,
    "plain": {"int": -7, "long": 1 << 40, "negative": -(1 << 40), "float": 1.5, "text": "größe", "yes": True,
              "no": False, "nothing": None, "list": [1, 2, [3]], "tuple": (1, 2, 3, 4), 5: "five"},
}
torch.save(saved, "saved_zip.pt")
torch.save(saved, "saved_zip_protocol4.pt", pickle_protocol=4)
torch.save(saved, "saved_legacy.pt", _use_new_zipfile_serialization=False)
torch.save({"turned": torch.arange(6.0).view(2, 3).t()}, "turned.pt")
torch.save(module, "module.pt")
torch.save({"a": torch.zeros(2).to(torch.float8_e4m3fn)}, "float8.pt")
torch.save({"a": torch.complex(torch.zeros(2), torch.ones(2))}, "complex.pt")


class OldStorage:
    def __init__(self, view): self.view = view


def legacy_views(path):
    """The legacy form as PyTorch 0.3 wrote it: two storages that are views of a third."""
    def save(obj, f, persistent_id=None):
        p = pickle.Pickler(f, protocol=2)
        if persistent_id:
            p = type("P", (pickle.Pickler,), {"persistent_id": lambda self, o: persistent_id(o)})(f, protocol=2)
        p.dump(obj)
    class T:
        def __init__(self, view, n): self.s, self.n = OldStorage(view), n
        def __reduce__(self): return torch._utils._rebuild_tensor_v2, (self.s, 0, (self.n,), (1,), False, OrderedDict())
    pid = lambda o: ("storage", torch.FloatStorage, "root", "cpu", 10, o.view) if isinstance(o, OldStorage) else None
    with open(path, "wb") as f:
        save(0x1950A86A20F9469CFC6C, f); save(1001, f); save({"protocol_version": 1001, "little_endian": True}, f)
        save({"a": T(("va", 2, 3), 3), "b": T(("vb", 5, 5), 4), "all": T(None, 10)}, f, pid)
        save(["root"], f)
        f.write(struct.pack("<q10f", 10, *range(10)))
    loaded = torch.load(path, weights_only=False)
    assert loaded["a"].tolist() == [2, 3, 4] and loaded["b"].tolist() == [5, 6, 7, 8]
    assert loaded["all"].tolist() == list(range(10))


legacy_views("legacy_views.pt")
