#!/usr/bin/env bash
# compute-sanitizer over small models on a card: sanitize_cuda.sh BUILD [TOOL...]
#
# memcheck, initcheck and synccheck run sd-exercise on the tiny model and all first stages, in
# float16, bfloat16 and float32, with and without recorded regions; a run takes some 15 s. racecheck
# takes seconds for each file of kernels that it meets, and more for graphs: it sees one network of the
# tiny model at a time, not recorded. (Its filters by kernel break programs that are clean without.)
# A line for each run; its log is in BUILD/sanitize. Ends with 1 where one is not clean.
#
# JOBS (4) at once, LIMIT (120) seconds each; PRECISIONS and NETWORKS name others than all.
set -uo pipefail
tests=$(realpath "$(dirname "$0")/..")
build=$(realpath "${1:?usage: sanitize_cuda.sh BUILD [TOOL...]}")
shift
tools=${*:-memcheck initcheck synccheck racecheck}
exercise=$build/tests/tools/sd-exercise
tiny=${SD_TEST_TINY_FOLDER:-$build/tests/tools/tiny-diffusers}
logs=$build/sanitize
mkdir -p "$logs"
export LD_LIBRARY_PATH=$build${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

all=$tiny
for name in celeba churches cin inpaint kl masked options sd2; do
    all+=" $tests/golden/data/ldm/$name"
done

# check NAME TOOL [OPTION...] -- ARGUMENT...: one run of sd-exercise under a tool.
check() {
    local name=$1 tool=$2 options=() begin=$SECONDS result
    shift 2
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    timeout "${LIMIT:-120}" compute-sanitizer --tool "$tool" --error-exitcode 9 "${options[@]}" \
        "$exercise" --steps 1 "$@" >"$logs/$name.log" 2>&1
    case $? in
    0) result=clean ;;
    9) result=$(grep "ERROR SUMMARY\|RACECHECK SUMMARY" "$logs/$name.log" | tail -n 1) ;;
    124) result="not ended in ${LIMIT:-120} s" ;;
    *) result="failed: $(tail -n 1 "$logs/$name.log")" ;;
    esac
    printf '%-36s %3d s  %s\n' "$name" $((SECONDS - begin)) "$result" >"$logs/$name.result"
    cat "$logs/$name.result"
}

# queue COMMAND...: in the background, when fewer than JOBS are.
queue() {
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-4}" ]; do
        wait -n
    done
    "$@" &
}

rm -f "$logs"/*.result
for tool in $tools; do
    for precision in ${PRECISIONS:-autocast bfloat16 full}; do
        if [ "$tool" = racecheck ]; then
            for network in ${NETWORKS:-text vae unet}; do
                queue check "racecheck-$precision-$network" racecheck -- \
                    --precision "$precision" --only "$network" --record no "$tiny"
            done
        else
            # shellcheck disable=SC2086 # a list of words
            queue check "$tool-$precision" "$tool" -- --precision "$precision" $all
            queue check "$tool-$precision-unrecorded" "$tool" -- --precision "$precision" \
                --record no "$tiny"
        fi
    done
done
wait
echo "$(cat "$logs"/*.result | grep -c ' clean$') of $(cat "$logs"/*.result | wc -l) clean"
! grep -qv ' clean$' "$logs"/*.result
