/* Mailbox names: UTF-8 in NFC (RFC 5198), '/' between levels, INBOX in capitals. */
#ifndef STORE_NAME_H
#define STORE_NAME_H

#include "base/err.h"
#include "store/mailbox.h"

/* Parsed and canonical. */
struct name {
    char b[MAILBOX_NAME_MAX];
    size_t n;
};
static inline struct str name_str(const struct name *n) { return (struct str){n->b, n->n}; }

/* For a name that is to come into being. ST_PERM (and says why): not UTF-8, control or line-separating characters (RFC 9051 5.1),
 * '*' or '%' (they could not be listed), empty levels, too long, too deep. */
enum st name_parse(struct str text, struct name *out, struct err *e) MUST_USE;
/* For a name that may exist: false means that it cannot. */
bool name_canonical(struct str text, struct name *out);

struct str name_parent(struct str canonical); /* empty at the top level */
bool name_is_inbox(struct str canonical);
bool name_below(struct str canonical, struct str ancestor); /* strictly */

#endif
