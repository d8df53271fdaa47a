/* What a kind of resolver implements. */
#ifndef DNS_RESOLVER_INTERNAL_H
#define DNS_RESOLVER_INTERNAL_H

#include "dns/resolver.h"

struct resolver_class {
    /* name: checked, lower case, without a dot at the end, NUL behind it */
    enum st (*lookup)(struct resolver *r, enum resolver_type type, struct str name, struct arena *arena,
                      struct resolver_answer *out, struct err *e);
    void (*close)(struct resolver *r);
};

struct resolver {
    const struct resolver_class *class;
};

#endif
