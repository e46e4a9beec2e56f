#!/usr/bin/env bash
# Trains Nano from nothing: data, towers, language model, the paper's four stages, one file.
#
#   examples/nano/train.sh [--smoke] [--kept] [--out DIR] [--lyra TOOL] [--threads N]
#
# Needs the packages of packages.txt, Python 3 with numpy, and the tool (bindings/c/build.sh makes it).
# Can be interrupted at any time: the same command goes on where it stopped. With --smoke every part runs on a
# few examples, so that its loss falls, but the model is of no use. With --kept, stages that trained/ holds
# are not trained again. DIR is .build/nano, or .build/nano-smoke with --smoke.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out= lyra=$root/.build/lyra/bin/lyra threads=$(nproc) smoke= use_kept=
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
fail() {
    echo "$0: $*" >&2
    exit 1
}
step() { echo "== $(date +%H:%M) $*"; }

[ -x "$lyra" ] || fail "$lyra: not there; bindings/c/build.sh makes it"
# Training would go on without a synthesizer that is missing.
PYTHONPATH=$here python3 -c 'import sys, numpy; from world import voices; sys.exit(" ".join(voices.missing()) or 0)' ||
    fail "Python's numpy and the packages of $here/packages.txt are needed"

out=${out:-$root/.build/nano${smoke:+-smoke}}
mkdir -p "$out"
out=$(cd "$out" && pwd)
[ -f "$out/purpose" ] || echo "${smoke:+smoke}" > "$out/purpose"
[ "$(cat "$out/purpose")" = "${smoke:+smoke}" ] ||
    fail "$out: begun $([ -n "$smoke" ] && echo without || echo with) --smoke; name another --out"

# What it learns from: name, kind, number of examples, seed. A set is made when a stage needs it.
declare -A data_sets
while read -r name made; do data_sets[$name]=$made; done <<'END'
text                text               60000 1
text-check          text               200 2
drills              drills             60000 1
drills-more         drills             60000 2
drills-last         drills             40000 3
refusals            refusals           4000 1
pictures            pictures           16000 1
pictures-more       pictures           32000 3
pictures-fresh      pictures           100000 5
pictures-check      pictures           200 2
videos              videos             4000 1
videos-more         videos             6000 3
videos-fresh        videos             24000 5
videos-check        videos             100 2
tower               tower              12000 1
tower-more          tower              12000 3
tower-check         tower              200 2
transcribe          transcribe         8000 1
transcribe-more     transcribe         28000 3
transcribe-check    transcribe         200 2
questions           questions          28000 1
questions-more      questions          36000 3
questions-check     questions          200 2
picture-questions   picture-questions  16000 1
picture-more        picture-questions  20000 3
video-questions     video-questions    6000 1
long                long               20000 1
long-check          long               60 2
answers             answers            5000 1
answers-more        answers            8000 2
vocoded             vocoded            8000 1
END

# file_of SET: its file.
file_of() { echo "$out/data/$1/${data_sets[$1]%% *}.jsonl"; }

# make_set SET: makes it, if it is not there. With --smoke it has so few examples that each comes several times in 16
# updates: a loss that does not fall is a fault.
make_set() {
    local kind count seed
    read -r kind count seed <<<"${data_sets[$1]}"
    [ -z "$smoke" ] || count=4
    # The units need 20 s of speech.
    [ -z "$smoke" ] || [ "$1" != answers ] || count=32
    [ -f "$(file_of "$1")" ] || {
        step "data: $1"
        local more=(--processes "$threads")
        if [ "$kind" = vocoded ]; then
            vocode answers-more
            more=(--manifest "$out/data/answers-more/vocoded.jsonl")
        fi
        python3 "$here/make_data.py" "$kind" --count "$count" --seed "$seed" "${more[@]}" --out "$out/data/$1"
    }
}

# learn_from SET… and check_with SET…: what the next stage learns from, and its validation.
learned=() checked=()
learn_from() { learned=("$@") checked=(); }
check_with() { checked=("$@"); }

# is_kept NAME: whether trained/NAME takes the place of a stage, and of those that only lead to it.
is_kept() { [ -n "$use_kept" ] && [ -d "$here/trained/$1" ]; }

# is_made RESULT: whether it is complete. An adapter's configuration is written last.
is_made() {
    case $1 in
    *_lora) [ -f "$1/adapter_config.json" ] ;;
    *) [ -e "$1" ] ;;
    esac
}

# train NAME RESULT MODEL OPTION…: runs the recipe NAME until RESULT is there, and draws its curves. With --kept, what
# trained/NAME has is taken instead; a model there is what differs from `kept_from`.
kept_from=$out/start
train() {
    local name=$1 result=$out/runs/$1/$2 kept=$here/trained/$1/$2 model=$3 run=$out/runs/$1
    local start=none set
    [ "$2" != model ] || start=$kept_from
    shift 3
    if [ -n "$use_kept" ] && ! is_made "$result" && [ -e "$kept" ]; then
        step "kept: $name"
        mkdir -p "$run"
        rm -rf "$result.new" "$run"/{log.jsonl,curves.svg}
        python3 "$here/stages.py" restore "$kept" "$start" "$result.new"
        mv "$result.new" "$result"
    fi
    if ! is_made "$result"; then
        local options=("$@")
        [ -z "$smoke" ] || options+=(--steps 16 --batch 4)
        for set in ${learned[@]+"${learned[@]}"} ${checked[@]+"${checked[@]}"}; do make_set "$set"; done
        for set in ${learned[@]+"${learned[@]}"}; do options+=(--data "$(file_of "$set")"); done
        for set in ${checked[@]+"${checked[@]}"}; do options+=(--validation "$(file_of "$set")"); done
        step "training: $name"
        "$lyra" train --recipe "$here/recipes/$name.toml" --model "$model" --out "$run" \
            --threads "$threads" --save-every 5 "${options[@]}"
    fi
    [ ! -f "$run/log.jsonl" ] || [ -f "$run/curves.svg" ] || "$lyra" plot-log "$run/log.jsonl" -o "$run/curves.svg"
    [ -z "$smoke" ] || [ ! -f "$run/log.jsonl" ] || python3 "$here/check_loss.py" "$run/log.jsonl"
}

# combine MODEL NAME FOLDER=DIR…: the checkpoint NAME is MODEL with other folders.
combine() {
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

# encode SET NAME OPTION…: the file NAME beside a set of answers has their units, of the one voice that speaks them.
codebook=$out/codebook.safetensors
encode() {
    local set=$1 file=$out/data/$1/$2.jsonl log_mels=(--log-mels --mels 40 --threads "$threads")
    shift 2
    make_set "$set"
    [ -f "$codebook" ] || {
        step "units"
        "$lyra" data units train "${log_mels[@]}" --units 200 --data "$(file_of "$set")" -o "$codebook"
    }
    [ -f "$file" ] || "$lyra" data units encode "${log_mels[@]}" --codebook "$codebook" \
        --data "$(file_of "$set")" "$@" -o "$file"
}

# vocode SET: the vocoder synthesizes a set of answers.
vocode() {
    local answers=$out/data/$1
    encode "$1" units
    [ -f "$answers/vocoded.jsonl" ] || "$lyra" data units decode --data "$answers/units.jsonl" --threads "$threads" \
        --vocoder "$runs/attune/model/model_zoo/audio/vocoder" --folder "$answers/vocoded" -o "$answers/vocoded.jsonl"
}

runs=$out/runs

# What it starts from: initial values.
[ -d "$out/start" ] || "$lyra" initialize "$here/model" -o "$out/start" --seed 1

# The kept vocoder knows the kept units.
if is_kept attune; then
    kept_codebook=$here/trained/attune/codebook.safetensors
    [ ! -f "$codebook" ] || cmp -s "$kept_codebook" "$codebook" || fail "$out: begun without --kept; name another --out"
    cp "$kept_codebook" "$codebook.new"
    mv "$codebook.new" "$codebook"
fi

attune_options=()
is_kept attune || {
    # Text: the language model learns its world, and to find what a text says.
    learn_from drills text
    check_with text-check
    train text model "$out/start"

    # Sight: the vision tower learns from labels, then answers with the language model.
    learn_from pictures pictures-more videos videos-more
    check_with pictures-check videos-check
    train see model "$out/start"
    vision=model_zoo/vision/Qwen2VL_ViT
    # Its labels made the tower's rows six times as large as the tokens that they stand beside.
    [ -d "$out/sighted" ] || {
        rm -rf "$out/sighted.large"
        combine "$runs/text/model" sighted.large $vision="$runs/see/model/$vision"
        python3 "$here/stages.py" scale "$out/sighted.large/$vision/model.safetensors" merger.mlp.2 0.16
        mv "$out/sighted.large" "$out/sighted"
    }
    # Other pictures than those that the tower knows.
    learn_from text drills-more pictures-fresh videos-fresh refusals
    check_with pictures-check videos-check text-check
    train look model "$out/sighted"

    # Hearing: the speech tower learns from labels, in two runs with different recordings.
    learn_from tower
    check_with tower-check
    train hear model "$out/start"
    learn_from tower-more
    check_with tower-check
    train listen model "$runs/hear/model" --heads "$runs/hear/heads.safetensors"

    # Voice: the vocoder makes sound of units.
    is_made "$runs/voice/model" || encode answers frames --keep-runs
    learn_from
    train voice model "$out/start" --data "$out/data/answers/frames.jsonl"

    combine "$runs/look/model" base model_zoo/audio/whisper="$runs/listen/model/model_zoo/audio/whisper" \
        model_zoo/audio/vocoder="$runs/voice/model/model_zoo/audio/vocoder"

    # The paper's stage 1.
    learn_from transcribe
    check_with transcribe-check
    train stage1 non_lora_trainables.bin "$out/base"

    # Then the speech tower, which has only learned labels, learns with the projector what the language model must read.
    learn_from transcribe transcribe-more
    check_with transcribe-check
    attune_options=(--speech-projector "$runs/stage1/non_lora_trainables.bin")
}
train attune model "$out/base" ${attune_options[@]+"${attune_options[@]}"}

asked=(transcribe-more questions picture-questions video-questions)
kept_from=$runs/attune/model
is_kept answer || {
    # All that is asked, aloud and typed. A language model of this size must learn itself that a question may be heard;
    # an adapter alone does not teach it. It also hears its own voice.
    learn_from "${asked[@]}" vocoded text drills-more pictures-fresh videos-fresh refusals
    check_with questions-check transcribe-check pictures-check
    train omni model "$runs/attune/model"
}

# Then the same without the speech tower, which makes it twice as fast, with what takes longest: sums, what comes before
# or after, pictures, and recordings of many windows.
learn_from transcribe-more questions-more picture-more video-questions vocoded text drills-last pictures-fresh \
    videos-fresh refusals long
check_with questions-check transcribe-check pictures-check long-check
train answer model "$runs/omni/model"

# The paper's stages 2 to 4.
learn_from "${asked[@]}"
check_with questions-check
train stage2 speech_lora "$runs/answer/model"

speech=$runs/stage2/speech_lora
# One speech projector for both adapters, that of stage 2, which becomes the checkpoint's own.
combine "$runs/answer/model" hearing speech_lora="$speech" long_speech_lora="$speech"
rm -f "$out"/hearing/*_lora/non_lora_trainables.bin
shared=(--speech-projector "$speech/non_lora_trainables.bin")
learn_from long questions
check_with long-check
train stage3 long_speech_lora "$out/hearing" "${shared[@]}"

answers=()
is_made "$runs/stage4/model" || is_kept stage4 || for set in answers answers-more; do
    encode $set units
    answers+=(--data "$out/data/$set/units.jsonl")
done
learn_from
kept_from=$out/hearing
train stage4 model "$out/hearing" "${shared[@]}" ${answers[@]+"${answers[@]}"}

# The whole model.
combine "$runs/stage4/model" nano speech_lora="$speech" long_speech_lora="$runs/stage3/long_speech_lora"
rm -f "$out"/nano/*_lora/non_lora_trainables.bin
for type in bf16 q8_0 q4_0; do
    [ -f "$out/nano-$type.gguf" ] || "$lyra" convert "$out/nano" -o "$out/nano-$type.gguf" --type $type
done
step "ready: $out/nano and its files nano-*.gguf"
