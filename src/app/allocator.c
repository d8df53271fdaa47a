#include "app/allocator.h"

#include <stdbool.h>
#include <stddef.h>

#include "rt/log.h"

/* jemalloc's own names. Weak: not there under a sanitizer. */
extern int mallctl(const char *name, void *old, size_t *old_n, void *value, size_t value_n) __attribute__((weak));
extern const char *malloc_conf;

/* Freed pages are kept for two seconds, in the place of ten: bursts of deliveries use them again, an idle server has no use for
 * them. */
const char *malloc_conf = "dirty_decay_ms:2000,muzzy_decay_ms:0,max_background_threads:1";

void allocator_start(void)
{
    bool on = true;
    int error = mallctl ? mallctl("background_thread", NULL, NULL, &on, sizeof on) : 0;
    if (error)
        log_event(LOG_WARN, "allocator.no_background_thread", LOG_INT("error", error));
}
