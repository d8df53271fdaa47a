/* Local delivery of one message to one account, recognised when it is repeated (promise 1: nothing is doubled by a crash).
 *
 * The delivery key (made from the queue's message id and the recipient) is remembered in the account, in the commit that makes the
 * message visible, for 5 to 10 days. A second delivery with the same key in that time adds nothing and reports the first. */
#ifndef STORE_DELIVER_H
#define STORE_DELIVER_H

#include "store/message.h"

enum { DELIVER_KEY_SIZE = 16 };

struct deliver {
    uint8_t key[DELIVER_KEY_SIZE];
    bool first;         /* the key was made just now, so no earlier attempt can exist: saves looking for one */
    struct str mailbox; /* by name; empty: INBOX. One that does not exist: INBOX, or it is created if `create` */
    bool create;
    struct message_append message; /* bytes, digest, flags, keywords, internal_ms, ignore_quota; and the outputs */
    /* out */
    uint32_t mailbox_id;
    bool repeated; /* it was there already; of the outputs only message.uid and mailbox_id are set */
};

/* ST_LIMIT: over quota. ST_NOTFOUND: no such account. ST_TEMP: not delivered; calling again with the same key is safe. */
enum st deliver_message(struct account *a, struct deliver *d, struct err *e) MUST_USE;

#endif
