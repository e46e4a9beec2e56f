#!/usr/bin/env bash
# From a fresh clone to a spoken answer, on a Debian machine with a Swift toolchain: installs the missing system
# packages, builds lyra, makes a tiny checkpoint and a recording, and asks the model about the recording.
# Can be run again, from any folder; the checkpoint and the recording are made once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$root/.build/quickstart
lyra=$root/.build/lyra/bin/lyra

step() { echo "== $*"; }

step "system packages"
"$root/bindings/setup-debian.sh" libopenblas0 libsndfile1-dev libmpg123-dev libtiff-dev libedit-dev libavformat-dev \
    libavcodec-dev libswscale-dev libavutil-dev pkg-config g++ binutils git ca-certificates python3

step "building the library and the tool (minutes the first time)"
"$root/bindings/c/build.sh"

step "a tiny checkpoint with random weights, and a recording of made-up vowels, in $work"
mkdir -p "$work"
if [ ! -d "$work/tiny" ]; then
    rm -rf "$work/tiny.new"
    "$lyra" make-tiny "$work/tiny.new" --seed 1
    mv "$work/tiny.new" "$work/tiny"
fi
if [ ! -f "$work/question.wav" ]; then python3 "$root/examples/python/make_recording.py" "$work/question.wav"; fi

step "lyra generate"
"$lyra" generate --model "$work/tiny" --audio "$work/question.wav" --prompt "What is said?" --temperature 0 \
    --max-tokens 24 --speak "$work/answer.wav"
cat <<TEXT

The answer is above, and spoken in $work/answer.wav.
The weights are random, so the words mean nothing: this shows that lyra runs. With a real checkpoint:
    $lyra generate --model Lyra_Mini_3B --audio question.wav --prompt "What is said?" --speak answer.wav
TEXT
