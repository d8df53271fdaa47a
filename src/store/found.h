/* Which mailboxes show an e-mail, and what becomes of one that none shows.
 *
 * The first place of an e-mail is in its record and never changes there. KEY_FOUND pages hold what happened since: further places,
 * and FOUND_LEFT for e-mails that left their first place. So mail that is delivered, read and expunged never has an entry. */
#ifndef STORE_FOUND_H
#define STORE_FOUND_H

#include "store/change.h"

enum { FOUND_LEFT = 0 }; /* as mailbox and uid: sorts before the places */

struct found_edit {
    uint32_t email, mailbox, uid;
    bool remove;
};

/* Carries out all edits (their order is changed). E-mails that lose their last place are marked destroyed: the commit lists them
 * as garbage, and store_care removes what is left of them. */
enum st found_edit_all(struct tx *tx, struct found_edit *edits, size_t count, struct err *e) MUST_USE;

#endif
