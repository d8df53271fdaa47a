#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "postrider: invariant broken: %s at %s:%d\n", expr, file, line);
    abort();
}

void always_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "postrider: unexpected: not %s at %s:%d\n", expr, file, line);
#ifdef POSTRIDER_STRICT
    abort();
#endif
}
