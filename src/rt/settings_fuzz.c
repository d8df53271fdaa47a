/* The configuration, from any bytes. */
#include "rt/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings *s = NULL;
    struct err e = {0};
    if (size > 0 && memmem(data, size, "include", 7))
        return 0; /* would read files of the machine that fuzzes */
    if (settings_parse("fuzz", str_make(data, size), &s, &e) == ST_OK)
        settings_unref(s);
    return 0;
}
