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
NATIVE = "-DGGML_NATIVE=ON -DCMAKE_C_FLAGS=-march=native -DCMAKE_CXX_FLAGS=-march=native"
# Otherwise pywhispercpp's libraries are searched where they were compiled, in a directory that pip removes.
COMPILED = {
    "llama-cpp-python": NATIVE,
    "pywhispercpp": f"{NATIVE} -DCMAKE_INSTALL_RPATH=$ORIGIN -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
}


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

    def install(self, package):
        command = [self.python, "-m", "pip", "install", "--disable-pip-version-check", package]
        if package not in COMPILED:
            return self.run(command)
        # pip's cache may hold a build with other flags.
        return self.run([*command, "--no-binary", package, "--no-cache-dir"], CMAKE_ARGS=COMPILED[package])

    def run(self, command, **variables):
        with open(self.log, "ab") as output:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **variables}).returncode


def machine():
    return {
        "processor": field("/proc/cpuinfo", "model name") or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gb": int((field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * 1024 / 1e9,
        "system": f"{distribution()}, Linux {platform.release()}",
    }


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
