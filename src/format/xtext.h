/* xtext (RFC 3461 4), utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 3), ORCPT values. Pure, any thread. */
#ifndef FORMAT_XTEXT_H
#define FORMAT_XTEXT_H

#include "base/buf.h"

void xtext_encode(struct str bytes, struct buf *out);
/* False: not xtext (bytes outside '!'..'~', '=', a '+' without two digits). Digits in lower case, which RFC 3461 does not allow and
 * RFC 4954 8 does (by RFC 5234 2.3), are decoded; valid does not pass them, since what it passes goes on to others as it is. */
bool xtext_decode(struct str text, struct buf *out);
bool xtext_valid(struct str text);

/* "rfc822;carolyn+40xyz.com" or "utf-8;\x{E9}lan@..." : the address type as written and the address as UTF-8, appended to *address.
 * False: not an ORCPT value. */
bool xtext_orcpt_decode(struct str orcpt, struct str *type, struct buf *address);
/* "rfc822;" + xtext, or for a UTF-8 address "utf-8;" + utf-8-addr-xtext (fits into ASCII transactions too). */
void xtext_orcpt_encode(struct str address, struct buf *out);

#endif
