/* Threads (RFC 8621 3, RFC 8474 THREADID): an e-mail joins the thread of one with which it shares a message-id (own, References,
 * In-Reply-To) and the base subject. A thread's id is that of its first e-mail; an e-mail's thread never changes. KEY_MEMBER lists
 * all e-mails of a thread but the first. */
#ifndef STORE_THREAD_H
#define STORE_THREAD_H

#include "store/append.h"

/* The hashes of what the digest says; none if it says nothing. */
void thread_ids(struct str digest, struct append_item *out);
/* The thread that the new e-mail belongs to; its ids lead there from now on. */
enum st thread_join(struct tx *tx, const struct append_item *item, uint32_t email, uint64_t *thread, struct err *e) MUST_USE;
/* The e-mail is removed; with the last one of the thread the ids go, too. */
enum st thread_leave(struct tx *tx, uint64_t thread, uint32_t email, struct str digest, struct err *e) MUST_USE;

#endif
