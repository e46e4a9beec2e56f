#!/usr/bin/env bash
# From a fresh clone to answers, on a Debian machine with a Swift toolchain: installs the missing system packages,
# builds lyra, and asks Nano, the small model inside, about recordings and a picture. Fails if an answer is wrong.
# Can be run again, from any folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
media=$root/examples/media
work=$root/.build/quickstart
lyra=$root/.build/lyra/bin/lyra

step() { echo "== $*"; }

# ask WHAT ANSWER OPTION…: prints what is asked and Nano's answer, which must be ANSWER.
ask() {
    local what=$1 wanted=$2 answer
    shift 2
    answer=$("$lyra" generate --model lyra:nano --temperature 0 "$@")
    printf '%-45s -> %s\n' "$what" "$answer"
    [ "$answer" = "$wanted" ] || { echo "quickstart.sh: the answer should be: $wanted" >&2 && exit 1; }
}

step "system packages"
"$root/bindings/setup-debian.sh" libopenblas0 libsndfile1-dev libmpg123-dev libtiff-dev libedit-dev libavformat-dev \
    libavcodec-dev libswscale-dev libavutil-dev pkg-config g++ binutils git ca-certificates

step "building the library and the tool (minutes the first time)"
"$root/bindings/c/build.sh"

step "asking Nano, the model inside"
mkdir -p "$work"
ask "kitchen.wav, a spoken command" "light.on kitchen" --audio "$media/kitchen.wav"
ask "sky.wav, a spoken question" "Blue." --audio "$media/sky.wav"
ask "\"What is nine plus eight?\", answered aloud" "Seventeen." --prompt "What is nine plus eight?" \
    --speak "$work/answer.wav"
ask "the spoken answer, written down again" "Seventeen." --audio "$work/answer.wav" \
    --prompt "Write down what you hear."
ask "shapes.png, \"What do you see?\"" \
    "A small green triangle, a small orange circle and a small red star." \
    --image "$media/shapes.png" --prompt "What do you see?"
ask "shapes.png and where.wav, a spoken question" "At the bottom right." \
    --image "$media/shapes.png" --audio "$media/where.wav"
cat <<TEXT

Everything was answered right. The recordings and the picture are in $media,
the spoken answer is $work/answer.wav.
What Nano knows is in $root/examples/nano/WORLD.md. It learned from synthesized voices
and rarely understands people. Next:
    $lyra chat
    $lyra generate --prompt "What is two plus two?" --speak answer.wav
    $lyra generate --model Lyra_Mini_3B --audio question.wav     # a model that knows the world
TEXT
