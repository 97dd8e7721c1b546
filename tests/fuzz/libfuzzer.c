/* libFuzzer's entry point; FUZZ_TARGET is the name of the target. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_run(fuzz_find(FUZZ_TARGET), data, size);
    return 0;
}
