#include "dns/resolver_internal.h"

#include <arpa/inet.h>
#include <stdio.h>

void resolver_close(struct resolver *r)
{
    if (r)
        r->class->close(r);
}

/* What may be asked for: labels of 1 to 63 printable bytes, 253 in all. */
static bool name_ok(struct str name)
{
    struct str label, rest = name;
    if (name.n == 0 || name.n > 253)
        return false;
    while (str_split(&rest, '.', &label)) {
        if (label.n == 0 || label.n > 63)
            return false;
        for (size_t i = 0; i < label.n; i++)
            if ((unsigned char)label.p[i] <= ' ' || (unsigned char)label.p[i] >= 127 || label.p[i] == '\\')
                return false;
    }
    return name.p[name.n - 1] != '.';
}

/* As the classes want it: lower case, without a dot at the end, NUL behind it. */
static enum st canonical(struct str name, struct arena *arena, struct str *out, struct err *e)
{
    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    ENSURE(name_ok(name), e, ST_PERM, "Not a domain name");
    *out = arena_str(arena, name);
    ENSURE(out->p, e, ST_LIMIT, "Out of memory");
    char *p = (char *)(uintptr_t)out->p;
    for (size_t i = 0; i < out->n; i++)
        p[i] = ascii_lower(p[i]);
    return ST_OK;
}

enum st resolver_lookup(struct resolver *r, enum resolver_type type, struct str name, struct arena *arena,
                        struct resolver_answer *out, struct err *e)
{
    *out = (struct resolver_answer){0};
    TRY(canonical(name, arena, &out->name, e));
    return r->class->lookup(r, type, out->name, arena, out, e);
}

enum st resolver_start(struct resolver *r, enum resolver_type type, struct str name, resolver_done *done, void *context)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(4096);
    struct str copy;
    TRY(canonical(name, &arena, &copy, NULL));
    return r->class->start(r, type, copy, done, context);
}

bool resolver_reverse_name(const char *numeric, char out[80])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t a[16];
    size_t n = 0;
    if (inet_pton(AF_INET, numeric, a) == 1) {
        snprintf(out, 80, "%u.%u.%u.%u.in-addr.arpa", a[3], a[2], a[1], a[0]);
        return true;
    }
    if (inet_pton(AF_INET6, numeric, a) != 1)
        return false;
    for (size_t i = 16; i-- > 0;) {
        out[n++] = hex[a[i] & 15];
        out[n++] = '.';
        out[n++] = hex[a[i] >> 4];
        out[n++] = '.';
    }
    memcpy(out + n, "ip6.arpa", 9);
    return true;
}
