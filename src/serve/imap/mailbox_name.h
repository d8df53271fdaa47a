/* How IMAP calls the special uses of mailboxes (RFC 6154 2, 8457). */
#ifndef SERVE_IMAP_MAILBOX_NAME_H
#define SERVE_IMAP_MAILBOX_NAME_H

#include "store/mailbox.h"

/* Without the backslash, in any case; 0: no such use, or one that cannot be given (INBOX). */
unsigned imap_role_named(struct str name);
/* "\Sent"; NULL: none. */
const char *imap_role_name(enum mailbox_role role);

#endif
