#!/usr/bin/env bash
# Builds the release liblyra.so, which needs no Swift where it runs, and installs what a C or C++ program needs:
#   lib/liblyra.so.<version> (with the links liblyra.so.<major> and liblyra.so), include/lyra.h,
#   lib/pkgconfig/lyra.pc, lib/cmake/Lyra, and bin/lyra, the command-line tool.
# The installed tree may be moved, because no file in it contains its own path.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bindings/c/build.sh [--prefix DIR] [--no-cli] [--no-nano] [--debug] [--sanitize address|thread]
  --prefix DIR     where to install (default: .build/lyra in the repository)
  --no-cli         leave the command-line tool out
  --no-nano        leave the model lyra:nano out of the library and the tool
  --debug          keep the symbols of the library and the tool
  --sanitize NAME  an instrumented library for tests; it needs the Swift toolchain where it runs, and has no tool
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
prefix= sanitizer= cli=yes strip=yes traits=()
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) prefix=${2:?--prefix needs a directory}; shift ;;
    --sanitize) sanitizer=${2:?--sanitize needs address or thread}; shift ;;
    --no-cli) cli= ;;
    --no-nano) traits=(--disable-default-traits) ;;
    --debug) strip= ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 64 ;;
    esac
    shift
done
case $sanitizer in '' | address | thread) ;; *) usage >&2; exit 64 ;; esac
if [ -n "$sanitizer" ]; then cli= strip=; fi
prefix=${prefix:-$root/.build/lyra${sanitizer:+-$sanitizer}}

if ! command -v swift > /dev/null; then
    echo "build.sh: no 'swift' in PATH; install the Swift toolchain (swift.org/install) and add its bin directory" >&2
    exit 1
fi

version=$(sed -n 's/^#define LYRA_VERSION "\(.*\)"$/\1/p' "$root/include/lyra.h")
major=${version%%.*}
rest=${version#*.}
minor=${rest%%.*}

# lld, because gold exports a thread-local symbol of libdispatch although the version script hides it.
scratch=$root/.build-shared${sanitizer:+-$sanitizer}
flags=(-c release --package-path "$root" --scratch-path "$scratch" -Xswiftc -use-ld=lld "${traits[@]}")
if [ -n "$sanitizer" ]; then
    flags+=(--sanitize "$sanitizer")
else
    # Link the Swift runtime statically. SwiftPM's --static-swift-stdlib does this for executables only.
    resources=$(swift -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
    if [ ! -d "${resources}_static/linux" ]; then
        echo "build.sh: the toolchain has no static Swift libraries (${resources}_static/linux); install the complete" \
            "toolchain (swift.org/install)" >&2
        exit 1
    fi
    flags+=(-Xswiftc -static-stdlib -Xlinker "-L${resources}_static/linux")
    # Otherwise the linker keeps every public function of every module, and a file's functions together: the library
    # would contain the gradients, which only training uses.
    flags+=(-Xswiftc -Xfrontend -Xswiftc -internalize-at-link -Xswiftc -Xfrontend -Xswiftc -function-sections)
fi

# nodelete: dlclose must not unload the library, because the Swift runtime and the compute threads cannot be stopped.
swift build "${flags[@]}" --product lyra -Xlinker "--version-script=$root/bindings/c/lyra.map" \
    -Xlinker "-soname=liblyra.so.$major" -Xlinker -z -Xlinker nodelete
if [ -n "$cli" ]; then swift build "${flags[@]}" --product lyra-cli; fi
built=$(swift build "${flags[@]}" --show-bin-path)

# Only the tool and the tests train. nm shows names that the installed library lacks.
if [ -z "$sanitizer" ]; then
    symbols=$(nm "$built/liblyra.so") || symbols=
    if [ -z "$symbols" ]; then
        echo "build.sh: nm cannot list the symbols of $built/liblyra.so; install binutils" >&2
        exit 1
    fi
    training=$(awk '{print $NF}' <<< "$symbols" \
        | grep -E '^lk_.*(gradient|adamw|cross_entropy|square_sum)|13backpropagate' | head -n 5 || true)
    if [ -n "$training" ]; then
        echo "build.sh: the library contains code that only training uses:" $training >&2
        exit 1
    fi
fi

# install_binary FROM TO: replaces TO in one step, so a running program keeps the old file.
install_binary() {
    cp "$1" "$2.new"
    if [ -n "$strip" ]; then strip --strip-unneeded "$2.new"; fi
    mv -f "$2.new" "$2"
}

mkdir -p "$prefix"/{include,lib/pkgconfig,lib/cmake/Lyra}
install_binary "$built/liblyra.so" "$prefix/lib/liblyra.so.$version"
ln -sf "liblyra.so.$version" "$prefix/lib/liblyra.so.$major"
ln -sf "liblyra.so.$major" "$prefix/lib/liblyra.so"
if [ -n "$cli" ]; then
    mkdir -p "$prefix/bin"
    install_binary "$built/lyra-cli" "$prefix/bin/lyra"
fi
cp "$root/include/lyra.h" "$root/bindings/cpp/lyra.hpp" "$prefix/include/"
sed "s/@VERSION@/$version/" "$root/bindings/c/lyra.pc.in" > "$prefix/lib/pkgconfig/lyra.pc"
cp "$root/bindings/c/LyraConfig.cmake" "$prefix/lib/cmake/Lyra/"
sed "s/@VERSION@/$version/; s/@MAJOR@/$major/; s/@MINOR@/$minor/" "$root/bindings/c/LyraConfigVersion.cmake.in" \
    > "$prefix/lib/cmake/Lyra/LyraConfigVersion.cmake"
echo "lyra $version is in $prefix"
