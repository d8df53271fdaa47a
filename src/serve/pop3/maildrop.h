/* The maildrop: INBOX as it was at login (RFC 1939 5). Message numbers, sizes and UIDs do not change while the session lasts,
 * whatever other sessions do; deletions are kept here and happen all at once in maildrop_update. Owned by its session. */
#ifndef SERVE_POP3_MAILDROP_H
#define SERVE_POP3_MAILDROP_H

#include "base/buf.h"
#include "base/err.h"
#include "store/store.h"

struct pop3_session;

struct pop3_message {
    uint32_t uid, size;
    uint64_t email;
};

struct maildrop_ahead; /* facts of the messages that are read next */

struct pop3_maildrop {
    struct store *store;
    struct account *account;
    uint32_t mailbox, uidvalidity;
    bool leased;
    char lease[64], holder[64];
    uint32_t count;
    uint32_t deleted_count;
    uint64_t bytes, deleted_bytes;
    struct pop3_message *messages;
    uint8_t *deleted;             /* bit i: message i + 1 */
    struct maildrop_ahead *ahead; /* NULL: nothing was read yet */
};

struct pop3_maildrop_how {
    unsigned messages_max;
    bool exclusive; /* take the account's lease: ST_CONFLICT if another session has it */
    unsigned lease_ms;
};

enum st maildrop_open(struct store *store, account_id id, const struct pop3_maildrop_how *how, struct pop3_maildrop **out,
                      struct err *e) MUST_USE;
void maildrop_free(struct pop3_maildrop *m); /* deletes nothing; NULL is fine */
/* Keeps the lease alive; ST_CONFLICT: it was lost. */
enum st maildrop_renew(struct pop3_maildrop *m, unsigned lease_ms, struct err *e) MUST_USE;

static inline bool maildrop_is_deleted(const struct pop3_maildrop *m, uint32_t i) { return (m->deleted[i / 8] >> (i % 8)) & 1; }
void maildrop_delete(struct pop3_maildrop *m, uint32_t i);
void maildrop_undelete_all(struct pop3_maildrop *m);
/* Part of message i: appends up to `length` bytes from `offset`. ST_NOTFOUND: another session removed it. What it removes while
 * messages are read one after the other may still be had. */
enum st maildrop_read(struct pop3_maildrop *m, uint32_t i, uint64_t offset, size_t length, struct buf *out, struct err *e) MUST_USE;
/* The update state: removes what was deleted, durably, in one go. *removed: how many were there. */
enum st maildrop_update(struct pop3_maildrop *m, uint64_t *removed, struct err *e) MUST_USE;

#endif
