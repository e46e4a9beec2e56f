#!/usr/bin/env bash
# usage: Tests/c/run.sh [--sanitize thread|address] PREFIX
# Tests the C interface: the library and the tool that bindings/c/build.sh has installed in PREFIX.
# Prints a line for each check, and at the end "C: N passed, M failed". With --sanitize it runs only the programs that
# use a session, with an instrumented library, which it builds first.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/Tests/c
sanitizer=
if [ "${1:-}" = --sanitize ]; then sanitizer=$2; shift 2; fi
prefix=$(cd "${1:?usage: Tests/c/run.sh [--sanitize thread|address] PREFIX}" && pwd) || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
log=$work/log passed=0 failed=0

# result STATUS PROMISE: a check by the shell; the end of the log is shown if it failed.
result() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1)); echo "ok - $2"
    else
        failed=$((failed + 1)); echo "not ok - $2"; sed 's/^/# /' "$log" | tail -20
    fi
}

# try PROMISE COMMAND…: the command must succeed.
try() {
    local promise=$1; shift
    "$@" > "$log" 2>&1 < /dev/null
    result $? "$promise"
}

# run_checks NAME COMMAND…: a program that prints "ok" and "not ok" lines.
run_checks() {
    local name=$1 status; shift
    timeout 600 "$@" > "$work/out" 2> "$log" < /dev/null
    status=$?
    sed "s/^\(ok\|not ok\) -/\1 - $name:/" "$work/out"
    passed=$((passed + $(grep -c '^ok ' "$work/out"))) failed=$((failed + $(grep -c '^not ok ' "$work/out")))
    # A program with "not ok" lines exits with 1; another status is a crash or a time-out.
    if [ $status -gt 1 ] || { [ $status -eq 1 ] && ! grep -q '^not ok ' "$work/out"; }; then
        result 1 "$name: exit status $status"
    fi
}

strict=(-std=c99 -Wall -Wextra -pedantic -Werror)
link=(-pthread "-L$prefix/lib" -llyra -lm "-Wl,-rpath,$prefix/lib")
recording=$work/recording.wav
model=$work/tiny other=$work/other
kernels=$root/Sources/CKernels
# What the kernels need besides themselves.
beside=("-I$root/Sources/CInterruption/include" "$root/Sources/CInterruption/interruption.c"
    "-I$root/Sources/CMemory/include" "$root/Sources/CMemory/memory.c")
# FFmpeg's libraries of the version that lyra was built for.
soname() { echo "lib$1.so.$(echo "LIB${1^^}_VERSION_MAJOR" | gcc -E -P -include "lib$1/$1.h" - | tail -1)"; }
avformat=$(soname avformat) swscale=$(soname swscale)

make_inputs() {
    python3 "$root/examples/python/make_recording.py" "$recording" > "$log" 2>&1 &&
        "$prefix/bin/lyra" make-tiny "$model" --seed 1 >> "$log" 2>&1 && [ -f "$model/config.json" ] &&
        "$prefix/bin/lyra" make-tiny "$other" --seed 2 >> "$log" 2>&1
}

# The media of vision.c: an image, its pixels, and two seconds of video without and with sound.
pictures=("$work/picture.png" "$work/pixels.rgb" "$work/silent.mp4" "$work/spoken.mp4")

make_pictures() {
    local make=(ffmpeg -v error -nostdin -y) moving
    # Lossless noise: a larger file than a decoder reads ahead.
    moving=(-f lavfi -i "testsrc=duration=2:size=60x44:rate=30,noise=alls=100:allf=t")
    python3 -c 'import sys; sys.stdout.buffer.write(bytes((i * i // 7 + i) % 256 for i in range(60 * 44 * 3)))' \
        > "$work/pixels.rgb" &&
        "${make[@]}" -f rawvideo -pix_fmt rgb24 -video_size 60x44 -i "$work/pixels.rgb" "$work/picture.png" &&
        "${make[@]}" "${moving[@]}" -pix_fmt yuv420p -qp 0 "$work/silent.mp4" &&
        "${make[@]}" "${moving[@]}" -i "$recording" -shortest -pix_fmt yuv420p "$work/spoken.mp4"
}

# ------------------------------------------------------------------------------------------------- header and library

# Every function that the header declares, as the compiler parses it.
header_functions() {
    gcc -E -P "$root/include/lyra.h" | tr '\n' ' ' | grep -oE '\blyra_[a-z_0-9]+ *\([^*(]' | sed 's/ *(.*//' | sort -u
}

check_header() {
    echo '#include <lyra.h>' > "$work/alone.c"
    cp "$work/alone.c" "$work/alone.cpp"
    echo '#include <lyra.hpp>' > "$work/wrapper.cpp"
    local cpp=(-std=c++17 -Wall -Wextra -pedantic -Werror -fsyntax-only "-I$prefix/include")
    try "gcc accepts the header alone" gcc "${strict[@]}" -fsyntax-only "-I$prefix/include" "$work/alone.c"
    try "g++ accepts the header alone" g++ "${cpp[@]}" "$work/alone.cpp"
    try "clang accepts the header alone" clang "${strict[@]}" -fsyntax-only "-I$prefix/include" "$work/alone.c"
    try "clang++ accepts the header alone" clang++ "${cpp[@]}" "$work/alone.cpp"
    try "g++ accepts the C++ header alone" g++ "${cpp[@]}" "$work/wrapper.cpp"
    try "clang++ accepts the C++ header alone" clang++ "${cpp[@]}" "$work/wrapper.cpp"
    try "the installed header is include/lyra.h" cmp "$root/include/lyra.h" "$prefix/include/lyra.h"
    [ "$(wc -l < "$root/include/lyra.h")" -lt 700 ]
    result $? "the header is under 700 lines"
}

check_library() {
    local library=$prefix/lib/liblyra.so
    header_functions > "$work/declared"
    [ "$(wc -l < "$work/declared")" -ge 30 ]
    result $? "the header's functions are found"
    sed -n 's/^ *\(lyra_[a-z_0-9]*\);$/\1/p' "$root/bindings/c/lyra.map" | sort -u > "$work/listed"
    try "the export list is the header's functions" diff "$work/declared" "$work/listed"
    nm -D --defined-only "$library" 2> "$log" | awk '{print $3}' | sort -u > "$work/exported"
    try "the library exports the header's functions and nothing else" diff "$work/declared" "$work/exported"
    ldd "$library" > "$log" 2>&1 && ! grep -qiE 'swift|foundation|dispatch|not found' "$log"
    result $? "the library needs no Swift library, and all that it needs is installed"
    ! ldd "$library" | awk '{ print $1 }' | sed 's|.*/||' |
        grep -vxE -e 'linux-vdso\.so\.1|ld-linux[-a-z0-9_]*\.so\.[0-9]+' \
            -e 'lib(c|m|stdc\+\+|gcc_s|pthread|dl|rt)\.so\.[0-9]+' > "$log"
    result $? "the library needs only the C and C++ libraries when it is loaded: no codecs, no BLAS"
    readelf -d "$library" > "$log" 2>&1 && grep -q 'SONAME.*\[liblyra\.so\.0\]' "$log"
    result $? "the library's SONAME is liblyra.so.0"
    [ $((16#$(readelf -lW "$library" | awk '$1 == "TLS" { sub("0x", "", $6); print $6 }'))) -lt 1024 ]
    result $? "a thread of the host gets less than 1 KB of the library's variables"
    readelf -S "$library" > "$log" 2>&1 && ! grep -qE '\.symtab|\.debug_info' "$log"
    result $? "the library is stripped"
}

# ---------------------------------------------------------------------------------------------------------- programs

check_programs() {
    local name
    for name in arguments options paths turn sources vision threads many; do
        try "$name.c compiles" gcc "${strict[@]}" -O1 "-I$prefix/include" "$here/$name.c" -o "$work/$name" "${link[@]}"
        run_checks "$name" "$work/$name" "$model" "$recording" "${pictures[@]}"
    done
    try "many.cpp compiles" g++ -std=c++17 -Wall -Wextra -pedantic -Werror -O1 "-I$prefix/include" "$here/many.cpp" \
        -o "$work/many-cpp" "${link[@]}"
    run_checks many.cpp "$work/many-cpp" "$model"
}

# Long recordings and their memory, in C and C++, compiled by gcc and clang.
check_long() {
    local compiler name
    mkdir -p "$work/states"
    for compiler in gcc clang; do
        for name in long memory; do
            try "$name.c compiles with $compiler" "$compiler" "${strict[@]}" -O1 "-I$prefix/include" "$here/$name.c" \
                -o "$work/$name-$compiler" "${link[@]}"
        done
        run_checks "long, $compiler" "$work/long-$compiler" "$model" "$recording" "$other" "$work/states"
        run_checks "memory, $compiler" "$work/memory-$compiler" "$model" "$recording" "$work/states/memory.state"
    done
    for compiler in g++ clang++; do
        try "long.cpp compiles with $compiler" "$compiler" -std=c++17 -Wall -Wextra -pedantic -Werror -O1 \
            "-I$prefix/include" "$here/long.cpp" -o "$work/long-$compiler" "${link[@]}"
        run_checks "long, $compiler" "$work/long-$compiler" "$model" "$recording" "$work/states/cpp.state"
    done
}

# Files and texts that are made to take excessive time or memory.
check_hostile() {
    local name
    for name in states bigtext; do
        try "$name.c compiles" gcc "${strict[@]}" -O1 "-I$prefix/include" "$here/$name.c" \
            -o "$work/run-$name" "${link[@]}"
        run_checks "$name" "$work/run-$name" "$model" "$recording" "$other" "$work/states"
    done
}

# With the mini preset's widths, a layer takes as long as in a real model. Also with lyra's and OpenBLAS's kernels for an
# old processor.
check_cancel() {
    local wide=$work/wide-model make=(ffmpeg -v error -nostdin -y)
    "$prefix/bin/lyra" make-tiny "$wide" --preset mini --layers 1 > "$log" 2>&1 &&
        "${make[@]}" -f lavfi -i "testsrc=duration=1:size=4000x3000:rate=1,noise=alls=100" -frames:v 1 \
            "$work/large.png" >> "$log" 2>&1
    result $? "a model of the mini preset's widths and a large image are made"
    try "cancel.c compiles" gcc "${strict[@]}" -O1 "-I$prefix/include" "$here/cancel.c" -o "$work/cancel" "${link[@]}"
    run_checks cancel "$work/cancel" "$wide" "$recording" "$work/large.png" "$work/large.state" 3 0.8
    run_checks "cancel, Prescott" env LYRA_ISA=generic OPENBLAS_CORETYPE=Prescott "$work/cancel" "$wide" "$recording" \
        "$work/large.png" "$work/large.state" 3 0.8
    rm -r "$wide"
}

# An older header: without the fields that came with the extractor, and without the last of the remaining fields of each
# struct that begins with its size.
check_old_client() {
    local later='(extractor|extractor_blocks|extractor_gap|extractor_keep|kv_type|skip_silence|max_memory_bytes'
    later+='|cache_bytes|precision);'
    local last='(limit_seconds|total|adapter\[64\]|vision_token_pixels|sound_projector|with_audio|seconds'
    last+='|\(\*close\).*);'
    mkdir -p "$work/old"
    gcc -fpreprocessed -dD -E -P "$root/include/lyra.h" | grep -vE "^ +[a-z0-9_]+ $later" | awk '
        /^} lyra_[a-z_]+;/ && sized { last = "" }
        NR > 1 && last != "" { print last }
        /^typedef struct .*{/ { sized = 0 }
        /^ *size_t size;/ { sized = 1 }
        { last = $0 }
        END { print last }' > "$work/old/lyra.h"
    ! grep -E "[ *]($later|$last)" "$work/old/lyra.h" > "$log" 2>&1 &&
        gcc -fsyntax-only "$work/old/lyra.h" > "$log" 2>&1
    result $? "the old header lacks the last fields"
    try "old_client.c compiles" gcc "${strict[@]}" "-I$work/old" "$here/old_client.c" -o "$work/old_client" "${link[@]}"
    run_checks old_client "$work/old_client" "$model" "$recording"
}

# check_speech NAME COMMAND…: an example, which must print text and write a WAV file.
check_speech() {
    local name=$1 out=$work/$1.wav; shift
    try "$name answers" "$@" --greedy --max-tokens 8 --model "$model" "$recording" "$out" "What is said?"
    [ "$(head -c 4 "$out" 2>> "$log")" = RIFF ] && [ "$(stat -c %s "$out")" -gt 44 ]
    result $? "$name writes speech"
}

check_examples() {
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    cp -r "$root/examples/c" "$root/examples/cpp" "$work/"
    try "the C example builds by its Makefile and pkg-config" make -C "$work/c" CFLAGS="-O1 -g ${strict[*]}"
    check_speech speak-c "$work/c/speak"
    try "the C++ example builds by its CMakeLists.txt" sh -c \
        'cmake -S "$1" -B "$1/build" -DCMAKE_PREFIX_PATH="$2" && cmake --build "$1/build"' sh "$work/cpp" "$prefix"
    check_speech speak-cpp "$work/cpp/build/speak"
    cmp -s "$work/speak-c.wav" "$work/speak-cpp.wav"
    result $? "the C and the C++ example write the same speech"
    "$work/c/speak" > "$log" 2>&1; [ $? -eq 64 ]
    result $? "the C example reports wrong usage"
    ! "$work/c/speak" --model "$model" /nowhere.wav "$work/none.wav" > "$log" 2>&1 && grep -q /nowhere.wav "$log"
    result $? "the C example names a missing recording"
    for kept in speak-c:c/speak speak-cpp:cpp/build/speak; do
        echo older > "$work/kept.wav"
        ! "$work/${kept#*:}" --model "$model" /nowhere.wav "$work/kept.wav" > "$log" 2>&1 &&
            [ "$(cat "$work/kept.wav")" = older ]
        result $? "${kept%:*} leaves an existing file alone when it fails"
    done
    try "the C example describes an image" "$work/c/describe" --greedy --max-tokens 4 --model "$model" "${pictures[0]}" \
        "What?"
    ! "$work/c/describe" --model "$model" /nowhere.png hello > "$log" 2>&1 && grep -q /nowhere.png "$log"
    result $? "the C example names a missing image"
}

# Instead of the installed libraries: one of another version, ones without functions, and a file that is no library.
check_loading() {
    local fake=$work/fake run=(env "LD_LIBRARY_PATH=$work/fake" "$work/loading" "$model")
    local mp3=$root/Tests/Fixtures/media/hi.mp3
    mkdir -p "$fake"
    try "loading.c compiles" gcc "${strict[@]}" -O1 "-I$prefix/include" "$here/loading.c" \
        -o "$work/loading" "${link[@]}"
    echo 'unsigned avformat_version(void) { return 77u << 16; }' > "$fake/other.c"
    : > "$fake/none.c"
    gcc -shared -fPIC "$fake/other.c" -o "$fake/$avformat" &&
        gcc -shared -fPIC "$fake/none.c" -o "$fake/libsndfile.so.1" &&
        gcc -shared -fPIC "$fake/none.c" -o "$fake/libmpg123.so.0" && echo damaged > "$fake/libopenblas.so.0"
    result $? "other libraries are made"
    run_checks "another FFmpeg" "${run[@]}" image "${pictures[0]}" 4 77
    run_checks "another FFmpeg" "${run[@]}" video "${pictures[2]}" 4 "${avformat#*.so.}"
    run_checks "a libsndfile without functions" "${run[@]}" audio "$recording" 4 sf_open_virtual
    run_checks "a libmpg123 without functions" "${run[@]}" audio "$mp3" 4 mpg123_
    run_checks "a damaged OpenBLAS, in whose place lyra multiplies" "${run[@]}" pcm - 0 -
    rm -r "$fake"
    for kind in pcm pixels image audio video; do
        local file=-
        case $kind in image) file=${pictures[0]} ;; audio) file=$recording ;; video) file=${pictures[2]} ;; esac
        run_checks "the installed libraries" "$work/loading" "$model" "$kind" "$file" 0 -
    done
}

# Threads with little stack, and processes with limits on address space and files.
check_limits() {
    local name media=("$work/recording.m4a" "$work/recording.mp3" "$work/picture.jpg")
    ffmpeg -v error -nostdin -y -i "$recording" "${media[0]}" > "$log" 2>&1 &&
        ffmpeg -v error -nostdin -y -i "$recording" "${media[1]}" >> "$log" 2>&1 &&
        ffmpeg -v error -nostdin -y -i "${pictures[0]}" "${media[2]}" >> "$log" 2>&1
    result $? "media for threads with little stack are made"
    for name in small_stack address_limit file_limit; do
        try "$name.c compiles" gcc -std=gnu99 "${strict[@]:1}" -O1 "-I$prefix/include" "$here/$name.c" \
            -o "$work/$name" "${link[@]}"
    done
    run_checks small_stack "$work/small_stack" "$model" "$work" "$recording" "${media[@]}" "${pictures[3]}"
    run_checks address_limit "$work/address_limit" "$model" "$recording" "${pictures[0]}"
    run_checks file_limit "$work/file_limit" "$model" "$work/limited.state" "$recording" "${media[1]}" \
        "${pictures[0]}" "${pictures[2]}"
}

check_valgrind() {
    # Valgrind's processor has no AVX-512, so the library uses other kernels there.
    try "valgrind finds no error and no leak in the C example" timeout 900 valgrind --error-exitcode=9 \
        --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite --fair-sched=yes \
        "$work/c/speak" --greedy --max-tokens 3 --model "$model" "$recording" "$work/valgrind.wav" "What is said?"
}

# The model inside the library. With LYRA_NANO=absent, of a library that was built without it.
check_nano() {
    local file=("$root/Sources/CNano/weights/nano.gguf")
    if [ "${LYRA_NANO:-}" = absent ]; then file=(); fi
    try "nano.c compiles" gcc "${strict[@]}" -O1 "-I$prefix/include" "$here/nano.c" -o "$work/nano" "${link[@]}"
    run_checks nano "$work/nano" "${file[@]}"
}

# ------------------------------------------------------------------------------------------------ without a toolchain

# with_libraries ROOT FILE…: copies what ldd names for the files into a root directory.
with_libraries() {
    local bare=$1 file; shift
    for file in $(ldd "$@" | grep -oE '/[^ ]+\.so[^ :]*' | sort -u); do
        case $file in */liblyra.so*) ;; *) cp -L --parents "$file" "$bare" ;; esac
    done
}

# install_libraries ROOT NAME…: copies the named libraries and the libraries that they need.
install_libraries() {
    local bare=$1 name path; shift
    for name in "$@"; do
        path=$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p | awk -v name="$name" '$1 == name { print $NF; exit }')
        cp -L --parents "$path" "$bare" && with_libraries "$bare" "$path"
    done
}

# A root directory with programs, the library, and only the libraries that ldd names; then with those of first use, too.
check_bare_root() {
    local bare=$work/bare enter=() run kind
    mkdir -p "$bare"/{dev,proc,tmp,lyra/lib}
    cp -r "$work/c/speak" "$work/loading" "$recording" "$work/tiny" "${pictures[0]}" \
        "$root/Tests/Fixtures/media/hi.mp3" "$bare/lyra/"
    cp -a "$prefix/lib"/liblyra.so* "$bare/lyra/lib/"
    with_libraries "$bare" "$work/c/speak" "$prefix/lib/liblyra.so"
    if [ "$(id -u)" -ne 0 ]; then enter=(unshare --user --map-root-user); fi
    if ! "${enter[@]}" true 2> /dev/null; then
        echo "# skipped: bare root directories (neither root nor user namespaces)"
        return
    fi
    run=("${enter[@]}" env -i LD_LIBRARY_PATH=/lyra/lib "$(PATH=$PATH:/usr/sbin command -v chroot)" "$bare")
    run_checks "with no library but C's" "${run[@]}" /lyra/loading /lyra/tiny text - 0 -
    for kind in pcm pixels; do
        run_checks "without OpenBLAS" "${run[@]}" /lyra/loading /lyra/tiny $kind - 0 -
    done
    install_libraries "$bare" libopenblas.so.0
    for kind in pcm pixels; do
        run_checks "without FFmpeg" "${run[@]}" /lyra/loading /lyra/tiny $kind - 0 -
    done
    run_checks "without FFmpeg" "${run[@]}" /lyra/loading /lyra/tiny image /lyra/picture.png 4 \
        "libavformat${avformat#*.so.}"
    run_checks "without libsndfile" "${run[@]}" /lyra/loading /lyra/tiny audio /lyra/recording.wav 4 libsndfile1
    run_checks "without libmpg123" "${run[@]}" /lyra/loading /lyra/tiny audio /lyra/hi.mp3 4 libmpg123-0
    install_libraries "$bare" "$avformat" "$swscale" libsndfile.so.1 libmpg123.so.0
    run_checks "with all libraries" "${run[@]}" /lyra/loading /lyra/tiny image /lyra/picture.png 0 -
    run_checks "with all libraries" "${run[@]}" /lyra/loading /lyra/tiny audio /lyra/hi.mp3 0 -
    try "with nothing of Swift in its root directory, a C program answers" \
        "${run[@]}" /lyra/speak --greedy --max-tokens 3 --model /lyra/tiny /lyra/recording.wav /tmp/out.wav hello
}

# ------------------------------------------------------------------------------------------------------------ the tool

# check_refused OUT PROMISE: the tool must fail to write there, with status 1 and a last line that names the file.
check_refused() {
    "$prefix/bin/lyra" generate --model "$model" --audio "$recording" --prompt hello --temperature 0 --max-tokens 8 \
        --speak "$1" > "$work/out" 2> "$log" < /dev/null
    [ $? -eq 1 ] && tail -1 "$log" | grep -qF "$1"
    result $? "$2"
}

check_tool() {
    ldd "$prefix/bin/lyra" > "$log" 2>&1 && ! grep -qiE 'swift|foundation|dispatch|liblyra|not found' "$log"
    result $? "the tool needs no Swift library"
    check_refused "$work/no/such/folder/out.wav" "the tool names an output in a missing folder"
    # Through a link, not as /dev/full: if root ran a tool that renames a new file over its output, the device would be
    # replaced for the whole machine.
    ln -s /dev/full "$work/full.wav"
    check_refused "$work/full.wav" "the tool names an output for which the disk is full"
    if [ "$(id -u)" -eq 0 ] && mkdir "$work/disk" && mount -t tmpfs -o size=4k tmpfs "$work/disk" 2> /dev/null; then
        check_refused "$work/disk/out.wav" "the tool names an output that a small disk cannot hold"
        mount -o remount,ro "$work/disk"
        check_refused "$work/disk/other.wav" "the tool names an output on a read-only disk"
        umount "$work/disk"
    else
        echo "# skipped: a small and a read-only disk (mounting needs root)"
    fi
}

# ---------------------------------------------------------------------------------------------------------------- all

check_sanitized() {
    local instrumented=$root/.build/lyra-$sanitizer name runtime
    # The toolchain's ThreadSanitizer runtime, which is linked into the program, needs libdispatch.
    runtime=$(swift -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')/linux
    try "the library builds for the $sanitizer sanitizer" \
        "$root/bindings/c/build.sh" --sanitize "$sanitizer" --prefix "$instrumented"
    mkdir -p "$work/states"
    for name in turn sources vision threads many long; do
        try "$name.c compiles for the $sanitizer sanitizer" clang "${strict[@]}" -g -O1 "-fsanitize=$sanitizer" \
            "-I$root/include" "$here/$name.c" -o "$work/$name" -pthread "-L$instrumented/lib" -llyra -lm \
            "-Wl,-rpath,$instrumented/lib" -Wl,--no-as-needed "-L$runtime" -ldispatch -lBlocksRuntime \
            "-Wl,-rpath,$runtime"
        local given=("${pictures[@]}")
        if [ "$name" = long ]; then given=("$other" "$work/states"); fi
        TSAN_OPTIONS=exitcode=66 run_checks "$name under the $sanitizer sanitizer" "$work/$name" "$model" \
            "$recording" "${given[@]}"
    done
}

# All kernels without optimization, which compiles six times as fast, for programs whose speed does not matter.
compile_kernels() (
    mkdir -p "$work/kernels" && cd "$work/kernels" &&
        clang -O0 -Wno-psabi -c "${beside[@]}" "$kernels"/*.c "$kernels"/*/*.c \
            "-I$root/Sources/CLoading/include" "$root/Sources/CLoading/loading.c"
)

# Tests the logic of the AVX-512 kernels on processors without AVX-512.
check_wide_kernels() {
    try "the kernels for vectors of 16 compile" clang -O1 -mavx2 -mfma -mf16c -fsanitize=address -Wno-psabi \
        "$here/wide.c" \
        "${beside[@]}" "$kernels"/{float_generic,training/training_generic,pool/pool,pool/quota,pool/scratch}.c \
        -o "$work/wide" -pthread -lm
    try "the kernels for vectors of 16 equal the portable ones" "$work/wide"
    # The overflow sanitizer is for the files that compute in integers from the values of a model.
    local sanitized=(packed.c integer_generic.c bf16_generic.c packing.c blocks.c blocks_k.c) others=() object
    for object in "$work/kernels"/*.o; do
        case " ${sanitized[*]} " in *" $(basename "$object" .o).c "*) ;; *) others+=("$object") ;; esac
    done
    try "the kernels on packed weights compile for vectors of 16, and to end where an integer overflows" \
        clang -O1 -Wno-psabi -fsanitize=signed-integer-overflow,shift -fno-sanitize-recover=all "$here/wide_packed.c" \
        "${beside[@]::1}" "${beside[@]:2:1}" "${sanitized[@]/#/$kernels/quantized/}" "${others[@]}" \
        -o "$work/wide_packed" -pthread -lm
    try "the kernels on packed weights for vectors of 16 equal the portable ones" "$work/wide_packed"
}

# Products against slow references: with every instruction set, with functions in place of tiles, and on an emulated Arm
# processor, on which the kernels of Arm run.
check_products() {
    local arm=(clang --target=aarch64-linux-gnu -I/usr/aarch64-linux-gnu/include -O1 -Wno-psabi)
    try "products.c compiles with the kernels" clang -O1 -Wall -Wextra -Werror -Wno-psabi -Wno-unused-function \
        "${beside[0]}" "${beside[2]}" "$here/products.c" "$work/kernels"/*.o -o "$work/products" -pthread -lm
    run_checks products "$work/products"
    mkdir -p "$work/arm"
    try "the kernels compile for Arm" sh -c 'cd "$1" && shift && "$@"' sh "$work/arm" "${arm[@]}" -c "${beside[@]}" \
        "-I$root/Sources/CLoading/include" "$root/Sources/CLoading/loading.c" "$kernels"/*.c "$kernels"/*/*.c \
        -Wno-unused-function "$here/products.c"
    try "they are linked" aarch64-linux-gnu-gcc -static "$work/arm"/*.o -o "$work/products-arm" -pthread -lm
    run_checks "products, Arm" qemu-aarch64 -cpu max "$work/products-arm" neondot neoni8mm neonbf16
}

check_fork() {
    try "pool_fork.c compiles with the kernels" clang -O2 "${beside[0]}" "$here/pool_fork.c" "$work/kernels"/*.o \
        -o "$work/pool_fork" -pthread -lm
    try "every process has its own threads in the pool, also a child that is forked while the pool is busy" \
        timeout 120 "$work/pool_fork"
}

check_quota() {
    mkdir -p "$work/quota"
    try "quota.c compiles" gcc -Wall -Wextra -Werror -O1 "$here/quota.c" "$kernels/pool/quota.c" -o "$work/quota-test"
    run_checks quota "$work/quota-test" "$work/quota"
}

try "a tiny checkpoint and a recording are made" make_inputs
try "images and videos are made" make_pictures
if [ -n "$sanitizer" ]; then
    check_sanitized
else
    check_header
    check_library
    check_programs
    check_nano
    check_long
    check_hostile
    check_cancel
    check_old_client
    check_examples
    check_loading
    check_limits
    check_valgrind
    check_bare_root
    check_tool
    try "the kernels compile" compile_kernels
    if grep -q avx2 /proc/cpuinfo; then check_wide_kernels; fi
    check_products
    check_fork
    check_quota
fi
echo "C: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
