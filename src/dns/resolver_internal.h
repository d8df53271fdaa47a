/* What a kind of resolver implements. */
#ifndef DNS_RESOLVER_INTERNAL_H
#define DNS_RESOLVER_INTERNAL_H

#include <stdatomic.h>

#include "dns/resolver.h"

struct resolver_class {
    /* name: checked, lower case, without a dot at the end, NUL behind it */
    enum st (*lookup)(struct resolver *r, enum resolver_type type, struct str name, struct arena *arena,
                      struct resolver_answer *out, struct err *e);
    /* the same name; as resolver_start */
    enum st (*start)(struct resolver *r, enum resolver_type type, struct str name, resolver_done *done, void *context);
    void (*close)(struct resolver *r); /* calls every `done` that is open */
};

struct resolver {
    const struct resolver_class *class;
    atomic_uint client_names; /* look-ups of client_name.h under way */
};

#endif
