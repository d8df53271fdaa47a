/* Permits: costly classes of work take one first, so that they cannot occupy all threads. Threads: any. */
#ifndef RT_PERMIT_H
#define RT_PERMIT_H

#include <stdbool.h>

#include "base/err.h"

enum permit_class { PERMIT_PASSWORD /* hashing */, PERMIT_SEARCH /* scanning message text */, PERMIT_IMPORT, PERMIT_CLASSES };

struct permit {
    enum permit_class class;
    bool held;
};

/* How many of a class may be held at once; the default is 2 each. */
void permit_limit(enum permit_class class, unsigned limit);
/* Waits in line for at most 10 s; ST_LIMIT then, or at once if the line is longer than 64. */
enum st permit_take(enum permit_class class, struct permit *out, struct err *e) MUST_USE;
/* Without waiting: false if none is free. */
bool permit_try(enum permit_class class, struct permit *out);
void permit_give(struct permit *p); /* once or more */

#endif
