/* Whole SMTP, submission and LMTP sessions. */
#include "serve/testing/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_session(smtp_session_make, false, data, size);
    return 0;
}
