/* Record data as DNS carries it (RFC 1035 3.3, 3596, 6698), names uncompressed. Pure, any thread. */
#ifndef DNS_RDATA_H
#define DNS_RDATA_H

#include "base/buf.h"
#include "dns/resolver.h"

/* False: malformed (the record is ignored), or the arena is used up. */
bool rdata_decode(enum resolver_type type, struct str data, struct arena *arena, struct resolver_record *out);
/* A printed name from its labels; false if it is malformed or not printable. Appends at most RESOLVER_NAME_MAX bytes. */
bool rdata_name(struct str wire, struct buf *out);

#endif
