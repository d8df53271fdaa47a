/* Which mailboxes show an e-mail (KEY_FOUND pages), and what becomes of one that none shows. */
#ifndef STORE_FOUND_H
#define STORE_FOUND_H

#include "store/change.h"

struct found_edit {
    uint32_t email, mailbox, uid;
    bool remove;
};

enum st found_add_one(struct tx *tx, uint64_t email, uint32_t mailbox, uint32_t uid, struct err *e) MUST_USE;
/* Carries out all edits (their order is changed). E-mails that lose their last place are marked destroyed: the commit lists them
 * as garbage, and store_care removes what is left of them. */
enum st found_edit_all(struct tx *tx, struct found_edit *edits, size_t count, struct err *e) MUST_USE;

#endif
