#!/usr/bin/env bash
# The whole suite: Swift, then the C interface, the Python package and the command-line tool of the release build, then
# fuzzing.
# Installs the system packages that are missing. Can be run again, from any folder. The last line is "N passed, N
# failed"; the exit status is 0 only if nothing failed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/.build/test-logs
prefix=$root/.build/lyra
python=$root/.build/python-tests
passed=0 failed=0

# count PASSED FAILED STATUS: adds a part's figures. A part that ended badly without a failed test is itself a failure.
count() {
    local bad=$2
    if [ "$3" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + $1)) failed=$((failed + bad))
}

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

install_packages() {
    local packages=(libopenblas0 libsndfile1-dev libmpg123-dev libtiff-dev libedit-dev libavformat-dev libavcodec-dev libswscale-dev
        libavutil-dev ffmpeg pkg-config gcc g++ make cmake binutils git ca-certificates valgrind libc6-dbg python3)
    if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then packages+=(python3-venv); fi
    "$root/bindings/setup-debian.sh" "${packages[@]}"
}

# Reads Swift Testing's summary ("Test run with 12 tests …") and XCTest's ("Executed 3 tests, with 1 failure").
test_swift() {
    local log=$logs/swift.log status all bad skipped xctest
    swift test --package-path "$root" -c release -Xswiftc -enable-testing --no-parallel 2>&1 | tee "$log"
    status=$?
    all=$(sed -nE 's/^.*Test run with ([0-9]+) tests? .*(passed|failed) after.*/\1/p' "$log" |
        awk '{ n += $1 } END { print n + 0 }')
    bad=$(grep -E '^[^ ]+ Test .* failed after [0-9.]+ seconds' "$log" | grep -vcE '^[^ ]+ Test run with ')
    skipped=$(grep -cE '^[^ ]+ Test .* skipped(:|\.|$)' "$log")
    count $((all - bad - skipped)) "$bad" 0
    xctest=$(grep -E 'Executed [0-9]+ tests?, with [0-9]+ failures?' "$log" | tail -1)
    if [[ $xctest =~ Executed\ ([0-9]+)\ tests?,\ with\ ([0-9]+)\ failure ]]; then
        count $((BASH_REMATCH[1] - BASH_REMATCH[2])) "${BASH_REMATCH[2]}" 0
        bad=$((bad + BASH_REMATCH[2]))
    fi
    count 0 0 $((status != 0 && bad == 0))
}

# count_lines NAME LOG STATUS: adds the figures of a part whose last line is "NAME: N passed, N failed".
count_lines() {
    local pattern="^$1: ([0-9]+) passed, ([0-9]+) failed$"
    if [[ $(tail -1 "$2") =~ $pattern ]]; then
        count "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "$3"
    else
        count 0 1 1
    fi
}

test_c() {
    "$root/Tests/c/run.sh" "$prefix" 2>&1 | tee "$logs/c.log"
    count_lines C "$logs/c.log" $?
}

test_fuzz() {
    "$root/Tests/fuzz/run.sh" 10 2>&1 | tee "$logs/fuzz.log"
    count_lines fuzz "$logs/fuzz.log" $?
}

# The Swift example, as a package that depends on this one, asks a tiny checkpoint about a recording.
test_swift_example() {
    local work=$root/.build/swift-example
    rm -rf "$work" && mkdir -p "$work" &&
        swift build --package-path "$root/examples/swift" &&
        "$prefix/bin/lyra" make-tiny "$work/tiny" &&
        python3 "$root/examples/python/make_recording.py" "$work/question.wav" &&
        "$root/examples/swift/.build/debug/speak" "$work/tiny" "$work/question.wav" "What is said?" "$work/answer.f32" &&
        [ -s "$work/answer.f32" ] && count 1 0 0 || count 0 1 1
}

# A virtual environment that is made once; the package is installed anew each time, from a copy, as pip builds in place.
prepare_python() {
    local packages=(pytest numpy pillow matplotlib jiwer whisper-normalizer gguf 'setuptools>=64' wheel)
    # Made anew when an earlier run put other packages into it.
    if [ "$(cat "$python/ready" 2> /dev/null)" != "${packages[*]}" ]; then
        rm -rf "$python"
        python3 -m venv "$python" && "$python/bin/pip" install -q "${packages[@]}" || return
        echo "${packages[*]}" > "$python/ready"
    fi
    rm -rf "$python/source" && cp -r "$root/bindings/python" "$python/source" &&
        "$python/bin/pip" install -q --no-deps --no-build-isolation --force-reinstall "$python/source"
}

# attribute NAME: a figure of pytest's report.
attribute() { sed -nE "s/.*<testsuite [^>]*\b$1=\"([0-9]+)\".*/\1/p" "$logs/python.xml" | head -1; }

test_python() {
    local status bad
    rm -f "$logs/python.xml"
    LYRA_LIBRARY=$prefix/lib/liblyra.so LYRA_TOOL=$prefix/bin/lyra "$python/bin/python" -m pytest -q \
        -p no:cacheprovider --junitxml "$logs/python.xml" "$root"/Tests/{python,cli} 2>&1 | tee "$logs/python.log"
    status=$?
    if [ ! -f "$logs/python.xml" ]; then count 0 1 1; return; fi
    bad=$(($(attribute failures) + $(attribute errors)))
    count $(($(attribute tests) - bad - $(attribute skipped))) "$bad" $status
}

mkdir -p "$logs"
export PYTHONDONTWRITEBYTECODE=1
echo "== system packages"
if ! install_packages; then count 0 1 1; finish; fi
if ! command -v swift > /dev/null; then
    echo "no 'swift' in PATH; install the Swift toolchain (swift.org/install) and add its bin directory" >&2
    count 0 1 1
    finish
fi
echo "== Swift"
test_swift
echo "== the release library and tool"
if ! "$root/bindings/c/build.sh" --prefix "$prefix"; then
    # An older build's library must not be what is tested.
    rm -rf "$prefix"
    count 0 1 1
    finish
fi
echo "== the Swift example"
test_swift_example
echo "== C"
test_c
echo "== Python and the command line"
if prepare_python; then test_python; else count 0 1 1; fi
echo "== Fuzzing"
test_fuzz
finish
