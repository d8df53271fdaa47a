/* Who may send what to whom: decided here for the three profiles; the replies are the callers'. Never an open relay: mail leaves
 * this host only for an authenticated login, a listed relay client, or, in the demo, a local sender on loopback. */
#ifndef SERVE_SMTP_POLICY_H
#define SERVE_SMTP_POLICY_H

#include "serve/smtp/transaction.h"

/* Submission without a login from a client that no rule lists (RFC 6409 4.3). */
bool smtp_policy_login_missing(const struct smtp_session *s);

/* May this session send from t->reverse_path? SMTP_SAY_NONE, or the refusal. Fills t->local_sender and t->relay_client. */
enum smtp_say smtp_policy_sender(struct smtp_session *s, struct smtp_transaction *t, struct err *e);

/* Resolves the recipient into *out (address and route, in the transaction's arena) and decides. */
enum smtp_say smtp_policy_recipient(struct smtp_session *s, const struct address *to, struct accept_recipient *out);

/* Do the addresses of the From field belong to the login? */
enum smtp_say smtp_policy_from(struct smtp_session *s, struct str message, struct err *e);

#endif
