/* A bounded memory of directory records, with a short life: what was read from the engine, also that a record is not there. Sets of
 * four places each, the oldest of a set makes room. Threads: any; a lock for each stripe of sets, never held across engine calls.
 *
 * A change made in this process is seen at once: the changer calls dircache_forget after its commit, which also moves the stripe's
 * generation, so that a reader who read before the commit cannot put the old value back. */
#ifndef AUTH_DIRCACHE_H
#define AUTH_DIRCACHE_H

#include "base/buf.h"

struct dircache;

enum { DIRCACHE_VALUE_MAX = 8 << 10 }; /* longer values are not kept */

struct dircache *dircache_new(size_t entries, unsigned life_ms); /* NULL without memory */
void dircache_free(struct dircache *c);

enum dircache_found { DIRCACHE_MISS, DIRCACHE_HIT, DIRCACHE_ABSENT /* known not to exist */ };
/* A hit appends the value. *generation is for the dircache_put that follows a miss. */
enum dircache_found dircache_get(struct dircache *c, struct str partition, struct str key, struct buf *value, uint64_t *generation);
void dircache_put(struct dircache *c, struct str partition, struct str key, bool exists, struct str value, uint64_t generation);
void dircache_forget(struct dircache *c, struct str partition, struct str key);

#endif
