/* Invariants. Input never reaches one: bad input is an ordinary error (ENSURE in err.h).
 *
 * check(c):  proved. Aborts in every build; the supervisor restarts the server and the report names the line.
 * always(c): believed, and handled all the same: evaluates to c, aborts only in debug and sanitizer builds (POSTRIDER_STRICT).
 *            `if (!always(x)) return ST_BUG;` */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stdbool.h>

_Noreturn void check_failed(const char *expr, const char *file, int line);
void always_failed(const char *expr, const char *file, int line);

#define check(c)  ((c) ? (void)0 : check_failed(#c, __FILE__, __LINE__))
#define always(c) ((c) ? true : (always_failed(#c, __FILE__, __LINE__), false))

#endif
