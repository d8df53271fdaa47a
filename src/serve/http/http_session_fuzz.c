/* Whole HTTP sessions. */
#include "serve/testing/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_session(http_session_make, true, data, size);
    return 0;
}
