"""The virtual environment of the peers, and the machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from contenders import Failure, log

# The packages of each peer on PyPI, and imports that succeed if they are installed.
PACKAGES = {
    "llama.cpp": (["numpy", "gguf", "llama-cpp-python"], "import numpy, gguf, llama_cpp"),
    "whisper.cpp": (["numpy", "gguf", "pywhispercpp"], "import numpy, gguf, _pywhispercpp"),
    "PyTorch": (["numpy", "torch", "transformers", "peft"], "import torch, transformers, peft"),
    "CTranslate2": (["numpy", "ctranslate2"], "import numpy, ctranslate2"),
}
# These two are compiled for this processor; the wheels of the others choose their kernels at run time.
# Otherwise pywhispercpp's libraries are searched where they were compiled, in a directory that pip removes.
RPATH = "-DCMAKE_INSTALL_RPATH=$ORIGIN -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON"
COMPILED = {"llama-cpp-python": "", "pywhispercpp": RPATH}
# ggml's code for tiles is compiled if the compiler may use them. A release of it loads a tile before it configures
# one.
NO_TILES = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
TILE_USERS = {"llama.cpp": "llama-cpp-python", "whisper.cpp": "pywhispercpp"}
# What of /proc/cpuinfo's flags decides about speed.
FEATURES = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "asimddp", "i8mm",
    "bf16")


def build_flags(package, has_tiles=True):
    """The variables for the compilation of a package, with code for tiles or without."""
    # CMake's option adds -march=native at the end, where it would allow tiles again.
    native = "-DGGML_NATIVE=" + ("ON" if has_tiles else "OFF")
    flags = "-march=native" + ("" if has_tiles else f" {NO_TILES}")
    return {"CMAKE_ARGS": f"{native} {COMPILED[package]}".strip(), "CFLAGS": flags, "CXXFLAGS": flags}


class Environment:
    """A virtual environment in `folder`, created on first use."""

    def __init__(self, folder):
        self.folder = Path(folder).absolute()
        self.python = self.folder / "bin/python"
        self.log = self.folder / "pip.log"

    def prepare(self, peer):
        """Installs the missing packages of the peer; installed ones stay."""
        packages, imports = PACKAGES[peer]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.python.exists() and self.run([sys.executable, "-m", "venv", self.folder]) != 0:
            raise Failure(f"no virtual environment could be made in {self.folder}; see {self.log}")
        if self.run([self.python, "-c", imports]) == 0:
            return
        log(f"installing {', '.join(packages)} in {self.folder}")
        for package in packages:
            if self.install(package) != 0:
                raise Failure(f"pip could not install {package}; see {self.log}")
        if self.run([self.python, "-c", imports]) != 0:
            raise Failure(f"'{imports}' fails after it was installed; see {self.log}")

    def install(self, package, has_tiles=True):
        command = [self.python, "-m", "pip", "install", "--disable-pip-version-check", package]
        if package not in COMPILED:
            return self.run(command)
        # pip's cache may hold a build with other flags.
        again = [] if has_tiles else ["--force-reinstall", "--no-deps"]
        return self.run(
            [*command, "--no-binary", package, "--no-cache-dir", *again], **build_flags(package, has_tiles))

    def leave_out_tiles(self, peer):
        """Compiles a peer that has crashed anew, without its code for tiles. → what was done, or None"""
        if peer not in TILE_USERS or "amx_tile" not in features() or self.lacks_tiles(peer):
            return None
        log(f"compiling {peer} without its code for tiles")
        if self.install(TILE_USERS[peer], has_tiles=False) != 0:
            raise Failure(f"pip could not compile {TILE_USERS[peer]} without tiles; see {self.log}")
        self.mark(peer).touch()
        return "compiled without its code for tiles"

    def lacks_tiles(self, peer):
        """Whether it was compiled so, in an earlier run too."""
        return self.mark(peer).exists()

    def mark(self, peer):
        return self.folder / f"{peer}-without-tiles"

    def run(self, command, **variables):
        with open(self.log, "ab") as output:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **variables}).returncode


def machine():
    return {
        "processor": processor(),
        "features": features(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gb": int((field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024 / 1e9,
        "system": f"{distribution()}, Linux {platform.release()}",
    }


def processor():
    """The processor's name; with its family and model, since virtual machines often have a name without a number."""
    name = field("/proc/cpuinfo", "model name") or platform.machine()
    family, model = (field("/proc/cpuinfo", key) for key in ("cpu family", "model"))
    return f"{name}, family {family}, model {model}" if family and model else name


def features():
    """Those of FEATURES that the processor has."""
    flags = (field("/proc/cpuinfo", "flags") or field("/proc/cpuinfo", "Features") or "").split()
    return [name for name in FEATURES if name in flags]


def distribution():
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return "unknown distribution"


def field(path, name):
    """The value of the first line "name : value" of a file, or None."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((value.strip() for key, colon, value in (line.partition(":") for line in lines)
                 if colon and key.strip() == name), None)


def load():
    """The mean number of busy processors in the last minute."""
    return os.getloadavg()[0]
