#!/usr/bin/env bash
# The whole suite: Swift; the C interface, the Python package and the command-line tool of the release build; training
# of Nano on a few examples; the quickstart; fuzzing.
# Two parts run at a time, because most use one processor most of the time. README.md explains the parts and how long
# they take. Installs missing system packages. Can be run again, from any folder. The last line is "N passed, N
# failed"; the exit status is 0 only if nothing failed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/.build/test-logs
prefix=$root/.build/lyra
python=$root/.build/python-tests

# count PASSED FAILED STATUS: adds a part's figures. A part with a bad status but no failed test counts as a failure.
count() {
    local bad=$2
    if [ "$3" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    echo "$1 $bad" >> "$logs/figures"
}

finish() {
    local passed failed
    read -r passed failed < <(awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }' "$logs/figures")
    if [ -s "$logs/times" ]; then cat "$logs/times"; fi
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

# part NAME: runs test_NAME, writes its output to a log and, with its name, to the terminal, and records the time.
part() {
    local TIMEFORMAT="$1: %0R s, %0U s of processors' time"
    # Without the library, which then counts as failed, nothing that uses it can run.
    if [[ " ${after[$1]:-} " = *" library "* && ! -d $prefix ]]; then return; fi
    { time "test_$1" 2>&1 | tee "$logs/$1.log" | sed -u "s/^/$1: /"; } 2>> "$logs/times"
}

install_packages() {
    local packages=(libopenblas0 libsndfile1-dev libmpg123-dev libtiff-dev libedit-dev
        libavformat-dev libavcodec-dev libswscale-dev libavutil-dev ffmpeg
        pkg-config gcc g++ make cmake binutils git ca-certificates curl valgrind libc6-dbg python3
        gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)
    # Nano's voices.
    mapfile -t -O "${#packages[@]}" packages < <(grep -v '^#' "$root/examples/nano/packages.txt")
    if ! python3 -c 'import ensurepip, venv' 2> /dev/null; then packages+=(python3-venv); fi
    "$root/bindings/setup-debian.sh" "${packages[@]}"
}

# With LYRA_TESTS, Package.swift leaves most modules unoptimized, because that takes longer than it saves.
swift_tests=(--package-path "$root" -c release -Xswiftc -enable-testing)

# The tests and the modules that they test, without the tool, which bindings/c/build.sh builds.
test_swift_build() {
    LYRA_TESTS=1 swift build "${swift_tests[@]}" --product lyraPackageTests && touch "$logs/swift-built"
}

# run_swift NAME OPTION…: runs tests of the build, chosen by options of Swift Testing, and counts them by its summary
# ("Test run with 12 tests …").
run_swift() {
    local program=$root/.build/release/lyraPackageTests.xctest log=$logs/$1-tests.log status all bad skipped
    shift
    if [ ! -f "$logs/swift-built" ]; then count 0 1 1; return; fi
    NO_COLOR=1 "$program" --testing-library swift-testing --no-parallel "$@" 2>&1 | tee "$log"
    status=$?
    all=$(sed -nE 's/^.*Test run with ([0-9]+) tests? .*(passed|failed) after.*/\1/p' "$log" |
        awk '{ n += $1 } END { print n + 0 }')
    bad=$(grep -E '^[^ ]+ Test .* failed after [0-9.]+ seconds' "$log" | grep -vcE '^[^ ]+ Test run with ')
    skipped=$(grep -cE '^[^ ]+ Test .* skipped(:|\.|$)' "$log")
    count $((all - bad - skipped)) "$bad" $((all == 0 ? 1 : status))
}

# In two parts, which can run at the same time: networks and sessions, and all others.
test_swift_model() { run_swift swift_model --filter 'Lyra(Model)?Tests\.'; }
test_swift() { run_swift swift --skip 'Lyra(Model)?Tests\.'; }

# If the build fails, the library of an older build must not be tested.
test_library() {
    "$root/bindings/c/build.sh" --prefix "$prefix" && return
    rm -rf "$prefix"
    count 0 1 1
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
    "$root/Tests/c/run.sh" "$prefix" 2>&1 | tee "$logs/c-tests.log"
    count_lines C "$logs/c-tests.log" $?
}

# A failed build fails again in test_fuzz, which counts it.
test_fuzz_build() { "$root/Tests/fuzz/run.sh" --build; }

test_fuzz() {
    "$root/Tests/fuzz/run.sh" 6 2>&1 | tee "$logs/fuzz-tests.log"
    count_lines fuzz "$logs/fuzz-tests.log" $?
}

test_inject() {
    "$root/Tests/inject/run.sh" "$prefix" 2>&1 | tee "$logs/inject-tests.log"
    count_lines inject "$logs/inject-tests.log" $?
}

# The Swift example, a package that depends on this one, asks a tiny checkpoint about a recording. It is built with the
# options of the tests in the same folder, so that the modules need not be compiled again.
test_example() {
    local work=$root/.build/swift-example flags=("${swift_tests[@]:2}" --scratch-path "$root/.build")
    rm -rf "$work" && mkdir -p "$work" &&
        LYRA_TESTS=1 swift build --package-path "$root/examples/swift" "${flags[@]}" &&
        "$prefix/bin/lyra" make-tiny "$work/tiny" &&
        python3 "$root/examples/python/make_recording.py" "$work/question.wav" &&
        "$root/.build/release/speak" --model "$work/tiny" "$work/question.wav" "$work/answer.f32" "What is said?" &&
        [ -s "$work/answer.f32" ] && count 1 0 0 || count 0 1 1
}

# Every stage of Nano's training, each on a few examples. The losses must fall. What is there is not made again, and
# the stages that are kept in the tree lead to a whole model, too.
test_nano() {
    local work=$root/.build/nano-smoke kept=$root/.build/nano-smoke-kept
    local train=("$root/examples/nano/train.sh" --smoke --lyra "$prefix/bin/lyra") PATH=$python/bin:$PATH
    rm -rf "$work" "$kept"
    "${train[@]}" --out "$work" && count 1 0 0 || count 0 1 1
    "${train[@]}" --out "$work" > "$work/again.log" && ! grep -E "(training|data): " "$work/again.log" &&
        count 1 0 0 || count 0 1 1
    "${train[@]}" --kept --out "$kept" && [ -f "$kept/nano-q8_0.gguf" ] && [ ! -d "$kept/runs/text" ] &&
        count 1 0 0 || count 0 1 1
}

# What a newcomer does first. It installs what was built once more, so nothing else may use it meanwhile.
test_quickstart() { "$root/examples/quickstart.sh" && count 1 0 0 || count 0 1 1; }

# A virtual environment that is made once. The package is installed each time, from a copy, because pip builds in place.
prepare_python() {
    local packages=(pytest pytest-xdist numpy pillow matplotlib jiwer whisper-normalizer gguf 'setuptools>=64' wheel)
    # Made again if its packages are other ones.
    if [ "$(cat "$python/ready" 2> /dev/null)" != "${packages[*]}" ]; then
        rm -rf "$python"
        python3 -m venv "$python" && "$python/bin/pip" install -q "${packages[@]}" || return
        echo "${packages[*]}" > "$python/ready"
    fi
    rm -rf "$python/source" && cp -r "$root/bindings/python" "$python/source" &&
        "$python/bin/pip" install -q --no-deps --no-build-isolation --force-reinstall "$python/source"
}

# attribute NAME: a number in pytest's report.
attribute() { sed -nE "s/.*<testsuite [^>]*\b$1=\"([0-9]+)\".*/\1/p" "$logs/python.xml" | head -1; }

# A worker for each processor, bound to it (Tests/conftest.py). The longest tests come first, so that no worker is idle
# at the end.
test_python() {
    local status bad
    "$root/bindings/setup-debian.sh" openmpi-bin || echo "MPI cannot be installed; its tests are skipped"
    if ! prepare_python; then count 0 1 1; return; fi
    rm -f "$logs/python.xml"
    LYRA_LIBRARY=$prefix/lib/liblyra.so LYRA_TOOL=$prefix/bin/lyra "$python/bin/python" -m pytest -q \
        -p no:cacheprovider -n "$(nproc)" --dist worksteal --junitxml "$logs/python.xml" \
        "$root"/Tests/{cli/test_hours.py,python,cli}
    status=$?
    if [ ! -f "$logs/python.xml" ] || [ -z "$(attribute tests)" ]; then count 0 1 1; return; fi
    bad=$(($(attribute failures) + $(attribute errors)))
    count $(($(attribute tests) - bad - $(attribute skipped))) "$bad" $status
}

# The parts that must end before a part begins. The example builds in the folder of the Swift tests.
declare -A after=([swift]=swift_build [swift_model]=swift_build [c]=library [python]=library [inject]=library
    [example]="library swift swift_model" [fuzz]=fuzz_build [nano]="library python"
    [quickstart]="library c python inject nano example")

# can_begin NAME: whether the parts before it have ended.
can_begin() {
    local before
    for before in ${after[$1]:-}; do
        if [ -z "${ended[$before]:-}" ]; then return 1; fi
    done
}

# run_parts NAME…: runs parts, two at a time, each as early in this order as `after` allows.
run_parts() {
    local waiting=("$@") later name pid status
    local -A running=() ended=()
    while [ $((${#waiting[@]} + ${#running[@]})) -gt 0 ]; do
        later=()
        for name in "${waiting[@]}"; do
            if [ ${#running[@]} -lt 2 ] && can_begin "$name"; then
                echo "== $name"
                part "$name" &
                running[$!]=$name
            else
                later+=("$name")
            fi
        done
        waiting=("${later[@]}")
        wait -n -p pid
        status=$?
        name=${running[$pid]}
        # The part after a build counts its failure. Other parts count their own, unless something ended them first.
        if [ "$status" -ne 0 ] && [[ $name != *_build ]]; then
            echo "$name: ended with status $status"
            count 0 1 1
        fi
        ended[$name]=yes
        unset "running[$pid]"
    done
}

mkdir -p "$logs"
rm -f "$logs"/{figures,times,swift-built}
touch "$logs/figures"
export PYTHONDONTWRITEBYTECODE=1
echo "== system packages"
if ! install_packages; then count 0 1 1; finish; fi
if ! command -v swift > /dev/null; then
    echo "no 'swift' in PATH; install the Swift toolchain (swift.org/install) and add its bin directory" >&2
    count 0 1 1
    finish
fi
# Once, because the two builds would do it at the same time.
if ! swift package --package-path "$root" resolve; then count 0 1 1; finish; fi
# What others wait for begins first.
run_parts library swift_build swift_model c swift fuzz_build python inject nano fuzz example quickstart
finish
