/* The hierarchy of mailboxes inside a transaction. Every level of a name exists: as a mailbox, or as a level that cannot be
 * selected. */
#ifndef STORE_MAILBOX_TREE_H
#define STORE_MAILBOX_TREE_H

#include "store/change.h"
#include "store/name.h"

/* A new mailbox; takes over a subscription that waited for the name. ST_LIMIT past mailboxes_max. */
enum st mailbox_tree_add(struct tx *tx, struct str name, struct tx_mailbox **out, struct err *e) MUST_USE;
enum st mailbox_tree_add_parents(struct tx *tx, struct str name, struct err *e) MUST_USE;
/* The mailboxes below `name`, in no order, in the transaction's arena. */
enum st mailbox_tree_below(struct tx *tx, struct str name, uint32_t **ids, size_t *count, struct err *e) MUST_USE;
/* Removes levels above `name` that cannot be selected and have nothing below them any more. */
enum st mailbox_tree_prune(struct tx *tx, struct str name, struct err *e) MUST_USE;

#endif
