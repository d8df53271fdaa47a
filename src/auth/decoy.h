/* What a name that does not exist is made to look like. Credentials that other servers made cost another time to check, and show
 * other iterations and salts in SCRAM, than those made here; where some accounts have such ones, a name that looked like one made
 * here could be told from them. So each name stands in one of a fixed number of places, and shares the look of the account of that
 * place that logged in first. Only who logs in changes what strangers see; guessing does not.
 *
 * Threads: any; one lock. Memory is bounded by the number of places. What is kept is copies of stored credentials. */
#ifndef AUTH_DECOY_H
#define AUTH_DECOY_H

#include "base/buf.h"

struct decoys;

struct decoys *decoys_new(void); /* NULL without memory */
void decoys_free(struct decoys *d);

/* The account of that name, a canonical one, logged in, and has this credential line. */
void decoys_learn(struct decoys *d, struct str name, struct str credential);
/* Appends the credential that a name looks like; false: like one made here. */
bool decoys_find(struct decoys *d, struct str name, struct buf *credential);

#endif
