#!/usr/bin/env bash
# usage: Tests/inject/run.sh [--whole | --again] PREFIX [OPTION…]
# Makes allocations, mappings, and calls on files and threads fail one at a time. README.md explains the verdicts.
# PREFIX is where bindings/c/build.sh has installed the library and the tool. By default a few calls of each kind fail.
# --whole makes the first and the last call of every call site fail, at low priority; a stopped run is continued.
# --again repeats the tries that did not pass. OPTIONs are those of library.c.
# The last line is "inject: N passed, M failed".
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/Tests/inject
kept=$root/.build/inject
options=(--sample 4)
progress=$kept/progress
priority=()
case ${1:-} in
    --whole) options=(--sites 2 --frames --progress "$progress") priority=(nice -n 19); shift ;;
    --again) options=(--sites 2 --frames --progress "$progress" --again) priority=(nice -n 19); shift ;;
esac
prefix=$(cd "${1:?usage: Tests/inject/run.sh [--whole | --again] PREFIX [OPTION…]}" && pwd) || exit 1
shift
mkdir -p "$kept"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

fail() { echo "$1" >&2; echo "inject: 0 passed, 1 failed"; exit 1; }

# Small media for every decoder, and a model with random weights. They are made once, so that call numbers stay valid.
make_inputs() {
    local media=$kept/media make=(ffmpeg -v error -nostdin -y -bitexact -threads 1)
    local still=(-f lavfi -i "testsrc=size=320x240:duration=1:rate=1" -frames:v 1)
    mkdir -p "$media" &&
        python3 "$root/examples/python/make_recording.py" "$media/speech.wav" 2 > /dev/null &&
        "${make[@]}" -i "$media/speech.wav" -c:a aac -b:a 48k "$media/speech.m4a" &&
        "${make[@]}" "${still[@]}" "$media/picture.jpg" &&
        "${make[@]}" "${still[@]}" "$media/picture.png" &&
        "${make[@]}" "${still[@]}" -compression_algo deflate "$media/picture.tiff" &&
        "${make[@]}" -f lavfi -i "testsrc=duration=2:size=320x240:rate=12" -i "$media/speech.wav" -shortest \
            -pix_fmt yuv420p -g 12 "$media/clip.mp4" &&
        "$prefix/bin/lyra" make-tiny "$kept/tiny" --seed 1 > /dev/null &&
        touch "$kept/ready"
}

if [ ! -f "$kept/ready" ]; then
    rm -rf "$kept/media" "$kept/tiny" "$progress"
    make_inputs || fail "the model or the media cannot be made"
fi
gcc -std=gnu11 -O1 -g -Wall -Wextra -Werror "-I$root/include" "$here"/{fault,fault_files,scenario,tries,library}.c \
    -o "$kept/library" -rdynamic "-L$prefix/lib" -llyra "-Wl,-rpath,$prefix/lib" -ldl -pthread ||
    fail "library.c cannot be built"
"${priority[@]}" "$kept/library" "${options[@]}" "$@" "$kept/tiny" "$kept/media" "$work"
