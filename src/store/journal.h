/* Journal entries: what one commit changed, one record for each mod-sequence. Each begins with the account record, so that the
 * newest entry (its key is the version of the partition) says how the account is. */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "base/buf.h"
#include "base/err.h"
#include "store/record.h"

enum journal_event { /* of a mailbox */
                     JOURNAL_CREATED = 1 << 0,
                     JOURNAL_CHANGED = 1 << 1, /* name, role, subscription, keywords */
                     JOURNAL_REMOVED = 1 << 2,
                     JOURNAL_EVENTS = 7,
};

struct journal_mailbox {
    uint32_t id;
    unsigned events;
    struct uidset added, flagged, vanished; /* borrowed */
};
struct journal_emails {
    struct uidset created, updated, destroyed;
};

/* begin, then one mailbox after the other, then end. `account` is what the commit makes it. */
void journal_encode_begin(struct buf *out, uint64_t token, const struct record_account *account, size_t mailboxes);
void journal_encode_mailbox(struct buf *out, const struct journal_mailbox *m);
void journal_encode_end(struct buf *out, const struct journal_emails *emails);

enum st journal_token(struct str bytes, uint64_t *token, struct err *e) MUST_USE;
enum st journal_account(struct str bytes, struct record_account *out, struct err *e) MUST_USE;
/* What the entry says of one mailbox: the sets are added to. *events is 0 if nothing. */
enum st journal_mailbox_decode(struct str bytes, uint32_t mailbox, struct journal_mailbox *into, struct err *e) MUST_USE;
enum st journal_emails_decode(struct str bytes, struct journal_emails *into, struct err *e) MUST_USE;
/* Visits the mailboxes of the entry: id and events. */
typedef bool journal_visit(void *context, uint32_t mailbox, unsigned events);
enum st journal_mailboxes(struct str bytes, journal_visit *visit, void *context, struct err *e) MUST_USE;
void journal_emails_release(struct journal_emails *m);

#endif
