#!/usr/bin/env bash
# usage: run.sh [SECONDS] [TARGET…] | run.sh --build
# Feeds mutated input to everything that reads bytes from outside, by default 10 seconds for each target, one target per
# processor at a time; --build only builds the targets, as for a short time. README.md explains how to reproduce a
# failure. Can be run from any folder. The last line is "fuzz: N passed, N failed"; the exit status is 0 only if nothing
# failed.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")
found=$root/.build/fuzz/found
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

seconds=${1:-10}
shift $(($# > 0))
targets=("$@")
if [ $# -eq 0 ]; then targets=(safetensors gguf torch json tokenizer text audio image video state options dataset); fi
# For less than a minute, building optimized programs takes longer than they save.
length=long scratch=$root/.build/fuzz
if [[ ! $seconds =~ ^[0-9]+$ || $seconds -lt 60 ]]; then length=short scratch=$root/.build/fuzz-short; fi

# The memory limit includes AddressSanitizer's own memory, so it keeps at most 64 MB of freed memory.
export ASAN_OPTIONS=quarantine_size_mb=64:allocator_may_return_null=1:detect_stack_use_after_return=0
export LSAN_OPTIONS=suppressions=$here/leaks.txt:print_suppressions=0
# FFmpeg's libraries allocate up to 2 GB at once for a damaged file, and do not touch the memory if no data follow.
# An input may take 5 s. The time limit is twice that, because two targets share processors with other programs.
limits=(-rss_limit_mb=512 -malloc_limit_mb=2048 -timeout=10 "-artifact_prefix=$found/")

# swiftc uses only its last -sanitize, and the package manager would pass one for each sanitizer, in any order. C code
# is not optimized: it computes little here, and compiling its vector code would take a third of the build. No target
# needs the model inside the library, so the refusal of its name is tested here (options).
build() {
    LYRA_FUZZ=$length swift build --disable-default-traits --package-path "$root" --scratch-path "$scratch" \
        -c release --sanitize fuzzer -Xswiftc -sanitize=fuzzer,address -Xcc -fsanitize=address -Xcc -O0 \
        -Xswiftc -use-ld=lld -Xswiftc -enable-testing 2>&1 |
        tee "$work/build.log" |
        grep -E 'error:|warning: unre|^Build complete'
    return "${PIPESTATUS[0]}"
}

# seeds TARGET: prints the files of the first corpus.
seeds() {
    local fixtures=$root/Tests/Fixtures
    case $1 in
        safetensors) ls "$fixtures"/formats/*.safetensors "$fixtures"/*/cases/speech_tail.safetensors ;;
        gguf) ls "$fixtures"/formats/*.gguf ;;
        torch) ls "$fixtures"/formats/*.pt ;;
        json) find "$fixtures"/{a,b,vocoder} -name '*.json' -size -16k ;;
        text) ls "$fixtures"/tokenizer/{cases,qwen2-lines}.json ;;
    esac
    find "$here/seeds/$1" "$here/regressions/$1" -type f 2> /dev/null
}

# longest TARGET: the greatest length of an input, in bytes.
longest() {
    case $1 in
        text) echo 2048 ;;
        json) echo 4096 ;;
        torch | tokenizer) echo 8192 ;;
        options) echo 512 ;;
        *) echo 16384 ;;
    esac
}

# fuzz TARGET: runs the regressions unchanged, then fuzzes from the seeds.
fuzz() {
    local name=$1 program=$scratch/release/fuzz-$1 corpus=$work/$1 log=$work/$1.log file options=("${limits[@]}")
    mkdir -p "$corpus"
    while read -r file; do cp "$file" "$corpus/$(md5sum < "$file" | cut -c1-32)"; done < <(seeds "$name")
    options+=("-max_len=$(longest "$name")" "-max_total_time=$seconds" -print_final_stats=1)
    if [ -f "$here/dictionaries/$name.dict" ]; then options+=("-dict=$here/dictionaries/$name.dict"); fi
    for file in "$here/regressions/$name"/*; do
        if [ ! -f "$file" ]; then continue; fi
        "$program" "${limits[@]}" "$file" < /dev/null > "$log" 2>&1 && continue
        report "$name: ${file##*/}" "$log"
        return
    done
    if "$program" "${options[@]}" "$corpus" < /dev/null > "$log" 2>&1; then
        echo "ok - $name: $(grep -aE '^#[0-9]+\s+DONE' "$log" | tr '\t' ' '), peak $(
            sed -nE 's/^stat::peak_rss_mb: *//p' "$log") MB"
    else
        report "$name" "$log"
    fi
}

# report WHAT LOG: prints a failure with the end of libFuzzer's output.
report() {
    echo "not ok - $1"
    grep -avE '^#[0-9]+\s+(NEW|REDUCE|pulse|RELOAD)' "$2" | cut -c1-300 | tail -40 | sed 's/^/# /'
}

# fuzz_all TARGET…: one target per processor at a time; prints the output of each when it has ended.
fuzz_all() {
    local target
    for target in "$@"; do
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
        { fuzz "$target" > "$work/$target.out"; cat "$work/$target.out"; } &
    done
    wait
}

if [ "$seconds" = --build ]; then build; exit; fi
if [[ ! $seconds =~ ^[0-9]+$ ]]; then echo "usage: $0 [SECONDS] [TARGET…], or $0 --build" >&2; exit 64; fi
mkdir -p "$found"
passed=0 failed=1
if build; then
    fuzz_all "${targets[@]}"
    passed=$(cat "$work"/*.out | grep -c '^ok - ')
    failed=$((${#targets[@]} - passed))
else
    tail -20 "$work/build.log"
fi
echo "fuzz: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
