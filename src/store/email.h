/* What an e-mail is beyond one mailbox: where it is shown, and its thread (RFC 8621 3 and 4; RFC 8474). And what happened to
 * e-mails since a state, for the changes methods of JMAP. */
#ifndef STORE_EMAIL_H
#define STORE_EMAIL_H

#include "store/message.h"

struct email_place {
    uint32_t mailbox, uid;
};
/* Fills places[] (sorted by mailbox) with up to `max`; *count is how many there are, maybe more than max. Places in mailboxes that
 * were deleted do not count; ST_NOTFOUND if there is no other. */
enum st email_places(struct account *a, uint64_t email, struct email_place *places, size_t max, size_t *count,
                     struct err *e) MUST_USE;

/* Visits the e-mails of a thread in the order in which they came in. */
typedef bool email_visit(void *context, uint64_t email);
enum st email_thread(struct account *a, uint64_t thread, email_visit *visit, void *context, struct err *e) MUST_USE;

/* E-mails that were created, changed (flags, keywords, places) or destroyed after mod-sequence `since`, up to *modseq. A created
 * one that was destroyed since is in neither. ST_NOTFOUND: the journal does not reach back so far (JMAP: cannotCalculateChanges).
 * The caller owns the sets. Destroyed are e-mails that no mailbox shows any more; those of a deleted mailbox follow when care
 * removes it. */
struct email_changes {
    struct uidset created, updated, destroyed; /* ids */
    uint64_t modseq;
};
enum st email_changes(struct account *a, uint64_t since, struct email_changes *out, struct err *e) MUST_USE;
void email_changes_release(struct email_changes *c);

#endif
