#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static void make_printable(char *s)
{
    for (unsigned char *p = (unsigned char *)s; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
}

enum st err_set(struct err *e, enum st class, const char *where, const char *text, const char *detail, ...)
{
    if (!e)
        return class;
    e->class = class;
    e->where = where;
    snprintf(e->text, sizeof e->text, "%s", text);
    va_list ap;
    va_start(ap, detail);
    vsnprintf(e->detail, sizeof e->detail, detail, ap);
    va_end(ap);
    make_printable(e->text);
    make_printable(e->detail);
    return class;
}

enum st err_public(struct err *e, enum st class, const char *where, const char *text, ...)
{
    if (!e)
        return class;
    e->class = class;
    e->where = where;
    va_list ap;
    va_start(ap, text);
    vsnprintf(e->text, sizeof e->text, text, ap);
    va_end(ap);
    make_printable(e->text);
    snprintf(e->detail, sizeof e->detail, "%s", e->text);
    return class;
}

const char *st_name(enum st s)
{
    static const char *const names[] = {"ok",       "temp",  "perm",   "notfound", "exists",
                                        "conflict", "limit", "denied", "corrupt",  "bug"};
    return (unsigned)s < sizeof names / sizeof names[0] ? names[s] : "unknown";
}
