#!/usr/bin/env bash
# Builds libsd and runs all its tests: ./check.sh (everything), ./check.sh --quick (one build).
# Installs the Debian packages that are missing. SD_TEST_SHARED may name a folder with CLIP's
# vocabulary (clip/) and pictures (images/) for the tests that want them; without it they skip.
set -euo pipefail
cd "$(dirname "$0")"
. tests/tools/packages.sh

quick=no
case "${1:-}" in
"") ;;
--quick) quick=yes ;;
*)
    echo "usage: ./check.sh [--quick]" >&2
    exit 2
    ;;
esac

# shellcheck disable=SC2086 # lists of words
install_packages $build_packages $check_packages

passed=0 failed=0 skipped=0
root=build/check

# configure NAME OPTION...: a build folder of its own for each variant, configured once.
configure() {
    local dir="$root/$1"
    shift
    if [ -d "$dir" ]; then
        meson configure "$dir" "$@" >/dev/null
    else
        meson setup "$dir" . "$@" >"$dir.log" 2>&1 || {
            cat "$dir.log"
            return 1
        }
    fi
}

# count NAME: adds up the results that meson wrote down.
count() {
    local log="$root/$1/meson-logs/testlog.json"
    local p f s
    p=$(grep -c '"result": "\(OK\|EXPECTEDFAIL\)"' "$log" || true)
    s=$(grep -c '"result": "SKIP"' "$log" || true)
    f=$(grep -c '"result": "\(FAIL\|ERROR\|TIMEOUT\|INTERRUPT\|UNEXPECTEDPASS\)"' "$log" || true)
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# run NAME MESON-TEST-ARGUMENT...
run() {
    local name="$1" log="$root/$1/meson-logs/testlog.json"
    shift
    rm -f "$log"
    meson test -C "$root/$name" --no-rebuild --print-errorlogs "$@" || true
    if [ ! -s "$log" ]; then
        echo "no test ran in $name"
        failed=$((failed + 1))
    else
        count "$name"
    fi
}

mkdir -p "$root"

say "release build, GCC, warnings are errors"
configure release -Dwerror=true -Dcuda-archs=80
ninja -C "$root/release" --quiet
say "all tests"
run release --num-processes 2

if [ "$quick" = no ]; then
    say "Clang, static library, warnings are errors"
    CC=clang CXX=clang++ configure clang -Dwerror=true -Dcuda=disabled -Ddefault_library=static
    ninja -C "$root/clang" --quiet
    run clang --suite api --num-processes 2

    say "address and undefined-behaviour sanitizers"
    configure asan -Db_sanitize=address,undefined -Db_lundef=false -Dbuildtype=debugoptimized \
        -Dcuda=disabled -Ddefault_library=shared
    ninja -C "$root/asan" --quiet
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    SD_TEST_BRIEF=1 run asan --no-suite python --no-suite install --no-suite bits \
        --num-processes 2 --timeout-multiplier 4

    say "fuzzing, 10 s for each target"
    CC=clang CXX=clang++ configure fuzz -Dfuzz=true -Db_lundef=false -Ddefault_library=static \
        -Dcuda=disabled -Dexamples=false
    ninja -C "$root/fuzz" --quiet fuzzers
    # Two at a time; a target that found nothing leaves a file.
    fuzz() {
        local target="$1" dir="$root/fuzz/found"
        rm -f "$dir/$target.clean"
        mkdir -p "$dir/$target"
        "$root/fuzz/tests/fuzz/fuzz-$target" -max_total_time=10 -max_len=4096 -timeout=25 \
            -artifact_prefix="$dir/" "$dir/$target" "tests/fuzz/corpus/$target" \
            >"$dir/$target.log" 2>&1 && touch "$dir/$target.clean"
    }
    for corpus in tests/fuzz/corpus/*; do
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
            wait -n || true
        done
        fuzz "$(basename "$corpus")" &
    done
    wait
    for corpus in tests/fuzz/corpus/*; do
        target=$(basename "$corpus")
        if [ -e "$root/fuzz/found/$target.clean" ]; then
            tail -n 1 "$root/fuzz/found/$target.log" | sed "s/^/$target: /"
            passed=$((passed + 1))
        else
            tail -n 40 "$root/fuzz/found/$target.log"
            failed=$((failed + 1))
        fi
    done

    say "thread sanitizer"
    configure tsan -Db_sanitize=thread -Db_lundef=false -Dbuildtype=debugoptimized \
        -Dcuda=disabled -Ddefault_library=shared
    ninja -C "$root/tsan" --quiet
    SD_TEST_BRIEF=1 run tsan --suite threads --num-processes 2 --timeout-multiplier 4

    say "format"
    if git ls-files '*.c' '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format-14 --dry-run -Werror; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
fi

say "done"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
