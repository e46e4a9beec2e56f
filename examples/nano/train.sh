#!/usr/bin/env bash
# Trains Nano from nothing: data, tokenizer, towers, language model, the paper's four stages, one file.
#
#   examples/nano/train.sh [--smoke] [--kept] [--out DIR] [--lyra TOOL] [--threads N]
#
# Needs the packages of packages.txt, Python 3 with numpy, and the tool (bindings/c/build.sh makes it).
# Can be interrupted at any time: the same command goes on where it stopped. With --smoke every part runs on a
# few examples, so that its loss falls, but the model is of no use. With --kept, stages that trained/ holds
# are not trained again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/.build/nano lyra=$root/.build/lyra/bin/lyra threads=$(nproc) smoke= use_kept=
while [ $# -gt 0 ]; do
    case $1 in
    --smoke) smoke=1 && shift ;;
    --kept) use_kept=1 && shift ;;
    --out) out=$2 && shift 2 ;;
    --lyra) lyra=$2 && shift 2 ;;
    --threads) threads=$2 && shift 2 ;;
    *) echo "$0: $1: not known; see the top of this file" >&2 && exit 64 ;;
    esac
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
[ -x "$lyra" ] || { echo "$0: $lyra: not there; bindings/c/build.sh makes it" >&2 && exit 1; }

step() { echo "== $(date +%H:%M) $*"; }

# data NAME KIND COUNT [SEED]: makes a data set, if it is not there. Few examples come several times in 16 updates, so
# that a loss that does not fall is a fault.
data() {
    local count=$3
    [ -z "$smoke" ] || count=8
    # The units need 20 s of speech.
    [ -z "$smoke" ] || [ "$2" != answers ] || count=32
    [ -f "$out/data/$1/$2.jsonl" ] || {
        step "data: $1"
        python3 "$here/make_data.py" "$2" --count "$count" --seed "${4:-1}" --processes "$threads" --out "$out/data/$1"
    }
}

# is_kept NAME: whether trained/NAME takes the place of a stage, and of those that only lead to it.
is_kept() { [ -n "$use_kept" ] && [ -d "$here/trained/$1" ]; }

# train NAME RESULT MODEL OPTION…: runs the recipe NAME until RESULT is there, and draws its curves. With --kept, what
# trained/NAME has is taken instead; a model there is what differs from `kept_from`.
kept_from=$out/start
train() {
    local name=$1 result=$out/runs/$1/$2 kept=$here/trained/$1/$2 model=$3 run=$out/runs/$1
    local start=none
    [ "$2" != model ] || start=$kept_from
    shift 3
    if [ -n "$use_kept" ] && [ ! -e "$result" ] && [ -e "$kept" ]; then
        step "kept: $name"
        mkdir -p "$run"
        rm -rf "$result.new" "$run"/{log.jsonl,curves.svg}
        python3 "$here/stages.py" restore "$kept" "$start" "$result.new"
        mv "$result.new" "$result"
    fi
    if [ ! -e "$result" ]; then
        step "training: $name"
        local short=()
        [ -z "$smoke" ] || short=(--steps 16 --batch 4)
        "$lyra" train --recipe "$here/recipes/$name.toml" --model "$model" --out "$run" \
            --threads "$threads" --save-every 5 ${short[@]+"${short[@]}"} "$@"
    fi
    [ ! -f "$run/log.jsonl" ] || [ -f "$run/curves.svg" ] || "$lyra" plot-log "$run/log.jsonl" -o "$run/curves.svg"
    [ -z "$smoke" ] || [ ! -f "$run/log.jsonl" ] || python3 "$here/check_loss.py" "$run/log.jsonl"
}

# from SET…: sets `sets` to the options for data sets; checked_by SET… adds those for validation.
from() {
    sets=()
    local set
    for set in "$@"; do sets+=(--data "$out/data/$set"); done
}
checked_by() {
    local set
    for set in "$@"; do sets+=(--validation "$out/data/$set"); done
}

# with MODEL NAME FOLDER=DIR…: the checkpoint NAME is MODEL with other folders.
with() {
    local model=$1 made=$out/$2 folder
    shift 2
    [ ! -d "$made" ] || return 0
    rm -rf "$made.new"
    cp -rL "$model" "$made.new"
    for folder in "$@"; do
        rm -rf "$made.new/${folder%%=*}"
        cp -rL "${folder#*=}" "$made.new/${folder%%=*}"
    done
    mv "$made.new" "$made"
}

runs=$out/runs

# What it starts from: initial values.
[ -d "$out/start" ] || "$lyra" initialize "$here/model" -o "$out/start" --seed 1

# Text: the language model learns its world, and to find what a text says. Sight: the vision tower learns from labels,
# then answers with the language model.
is_kept look || {
    data text text 60000
    data drills drills 60000
    data text-check text 200 2
    from drills/drills.jsonl text/text.jsonl
    checked_by text-check/text.jsonl
    train text model "$out/start" "${sets[@]}"

    data pictures pictures 16000
    data pictures-more pictures 32000 3
    data videos videos 4000
    data videos-more videos 6000 3
    data pictures-check pictures 200 2
    data videos-check videos 100 2
    from pictures/pictures.jsonl pictures-more/pictures.jsonl videos/videos.jsonl videos-more/videos.jsonl
    checked_by pictures-check/pictures.jsonl videos-check/videos.jsonl
    train see model "$out/start" "${sets[@]}"
    vision=model_zoo/vision/Qwen2VL_ViT
    # Its labels made the tower's rows six times as large as the tokens that they stand beside.
    [ -d "$out/sighted" ] || {
        rm -rf "$out/sighted.large"
        with "$runs/text/model" sighted.large $vision="$runs/see/model/$vision"
        python3 "$here/stages.py" scale "$out/sighted.large/$vision/model.safetensors" merger.mlp.2 0.16
        mv "$out/sighted.large" "$out/sighted"
    }
    # Other pictures than those that the tower knows.
    data drills-more drills 60000 2
    data pictures-fresh pictures 100000 5
    data videos-fresh videos 24000 5
    data refusals refusals 4000
    from text/text.jsonl drills-more/drills.jsonl pictures-fresh/pictures.jsonl videos-fresh/videos.jsonl \
        refusals/refusals.jsonl
    checked_by pictures-check/pictures.jsonl videos-check/videos.jsonl text-check/text.jsonl
}
train look model "$out/sighted" ${sets[@]+"${sets[@]}"}

# Hearing: the speech tower learns from labels, in two runs with different recordings.
is_kept listen || {
    data tower tower 12000
    data tower-check tower 200 2
    from tower/tower.jsonl
    checked_by tower-check/tower.jsonl
    train hear model "$out/start" "${sets[@]}"
    data tower-more tower 12000 3
    from tower-more/tower.jsonl
    checked_by tower-check/tower.jsonl
}
train listen model "$runs/hear/model" --heads "$runs/hear/heads.safetensors" "${sets[@]}"

# Voice: units of one voice, and the vocoder that makes its sound of them.
data answers answers 5000
answers=$out/data/answers
units=(--log-mels --mels 40 --threads "$threads")
codebook=$out/codebook.safetensors
[ -f "$codebook" ] || {
    step "units"
    "$lyra" data units train "${units[@]}" --units 200 --data "$answers/answers.jsonl" -o "$codebook"
}
[ -f "$answers/frames.jsonl" ] || "$lyra" data units encode "${units[@]}" --codebook "$codebook" \
    --data "$answers/answers.jsonl" --keep-runs -o "$answers/frames.jsonl"
[ -f "$answers/units.jsonl" ] || "$lyra" data units encode "${units[@]}" --codebook "$codebook" \
    --data "$answers/answers.jsonl" -o "$answers/units.jsonl"
from answers/frames.jsonl
train voice model "$out/start" "${sets[@]}"

with "$runs/look/model" base model_zoo/audio/whisper="$runs/listen/model/model_zoo/audio/whisper" \
    model_zoo/audio/vocoder="$runs/voice/model/model_zoo/audio/vocoder"

# The paper's four stages.
data transcribe transcribe 8000
data transcribe-check transcribe 200 2
from transcribe/transcribe.jsonl
checked_by transcribe-check/transcribe.jsonl
train stage1 non_lora_trainables.bin "$out/base" "${sets[@]}"

# The speech tower has only learned labels. Before the adapter is trained, tower and projector together learn what the
# language model must read.
data transcribe-more transcribe 12000 3
from transcribe/transcribe.jsonl transcribe-more/transcribe.jsonl
checked_by transcribe-check/transcribe.jsonl
train attune model "$out/base" --speech-projector "$runs/stage1/non_lora_trainables.bin" "${sets[@]}"

data questions questions 24000
data questions-check questions 200 2
data picture-questions picture-questions 14000
data video-questions video-questions 5500
from transcribe-more/transcribe.jsonl questions/questions.jsonl picture-questions/picture-questions.jsonl \
    video-questions/video-questions.jsonl
checked_by questions-check/questions.jsonl
train stage2 speech_lora "$runs/attune/model" "${sets[@]}"

speech=$runs/stage2/speech_lora
# One speech projector for both adapters, that of stage 2, which becomes the checkpoint's own.
with "$runs/attune/model" hearing speech_lora="$speech" long_speech_lora="$speech"
rm -f "$out"/hearing/*_lora/non_lora_trainables.bin
shared=(--speech-projector "$speech/non_lora_trainables.bin")
data long long 1200
data long-check long 60 2
from long/long.jsonl questions/questions.jsonl
checked_by long-check/long.jsonl
train stage3 long_speech_lora "$out/hearing" "${shared[@]}" "${sets[@]}"

from answers/units.jsonl
kept_from=$out/hearing
train stage4 model "$out/hearing" "${shared[@]}" "${sets[@]}"

# The whole model.
with "$runs/stage4/model" nano speech_lora="$speech" long_speech_lora="$runs/stage3/long_speech_lora"
rm -f "$out"/nano/*_lora/non_lora_trainables.bin
for type in bf16 q8_0 q4_0; do
    [ -f "$out/nano-$type.gguf" ] || "$lyra" convert "$out/nano" -o "$out/nano-$type.gguf" --type $type
done
step "ready: $out/nano and its files nano-*.gguf"
