"""The contenders: lyra, one process per run, and the peers, each a worker process that waits while another runs."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A contender did not answer; the message says why."""


class Crash(Failure):
    """The contender's process ended by itself."""


class Lyra:
    def __init__(self, tool, preset, threads, patience):
        self.tool, self.preset, self.threads, self.patience = tool, preset, threads, patience

    def bench(self, weights, precision, options):
        """Runs `bench parts` once. → its rows"""
        return self.rows("parts", self.preset, weights, precision, options)

    def train(self, weights, precision, options):
        """Runs `bench train` once, which makes a step that is not counted before. → its rows"""
        return self.rows("train", "tiny" if self.preset == "tiny" else "small", weights, precision, options)

    def rows(self, command, preset, weights, precision, options):
        command = [
            self.tool, "bench", command, "--preset", preset, "--dtype", weights, "--precision", precision,
            "--threads", str(self.threads), "--repetitions", "1", *options, "--json"]
        output = self.output(command)
        try:
            return json.loads(output)["results"]
        except (ValueError, KeyError, TypeError):
            raise Failure(f"'{' '.join(command)}' printed no object with results") from None

    def reading(self):
        """The GB/s that a plain loop reads at the moment."""
        return self.bench("bf16", "exact", ["--only", "memory"])[0]["value"]

    def version(self):
        return self.output([self.tool, "--version"]).strip()

    def output(self, command):
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
                timeout=self.patience)
        except OSError as error:
            raise Failure(f"{self.tool}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise Failure(f"no end after {self.patience:.0f} s") from None
        if ended.returncode != 0:
            reasons = ended.stderr.strip().splitlines()
            # An explanation of wrong usage has several lines; the first one has the error.
            reason = next((line for line in reasons if line.startswith(("Error:", "lyra:"))), "\n".join(reasons[-1:]))
            raise Failure(f"{reason or 'no reason given'} (exit {ended.returncode})")
        return ended.stdout


class Peer:
    """A worker process. `ask` sends a line and waits for the answer. `with` ends the process."""

    def __init__(self, name, script, arguments, python, folder, threads, patience):
        self.name, self.patience = name, patience
        self.idle_wall = self.idle_processor = 0.0
        self.answered = None
        self.buffer = b""
        self.log = Path(folder) / f"{Path(script).stem}.log"
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [python, HERE / script, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=log, env=environment)
        except OSError as error:
            raise Failure(f"{python}: {error.strerror}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, do, **request):
        """→ the answer, an object."""
        self.note_idleness()
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Crash(f"its process ended; see {self.log}") from None
        answer = json.loads(self.line())
        self.answered = time.monotonic(), self.processor_time()
        if "error" in answer:
            raise Failure(answer["error"])
        return answer

    def line(self):
        end = time.monotonic() + self.patience
        while b"\n" not in self.buffer:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                # Otherwise a late answer would count as the answer to the next request.
                self.process.kill()
                raise Failure(f"no answer after {self.patience:.0f} s")
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                raise Crash(f"its process ended; see {self.log}")
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line

    def processor_time(self):
        """The processor time of all threads, in seconds."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return 0.0
        return sum(map(int, stat.rpartition(")")[2].split()[11:13])) / TICKS

    def note_idleness(self):
        """Records the processor time since the last answer. Threads that spin while they wait slow other contenders."""
        if self.answered is None:
            return
        then, used = self.answered
        self.idle_wall += time.monotonic() - then
        self.idle_processor += max(0.0, self.processor_time() - used)
        self.answered = None

    @property
    def idle_share(self):
        return self.idle_processor / self.idle_wall if self.idle_wall > 0 else 0.0


def log(text):
    print(time.strftime("%H:%M:%S ") + text, file=sys.stderr, flush=True)
