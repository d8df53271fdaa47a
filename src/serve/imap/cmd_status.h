/* STATUS data, for STATUS and for LIST ... RETURN (STATUS ...). */
#ifndef SERVE_IMAP_CMD_STATUS_H
#define SERVE_IMAP_CMD_STATUS_H

#include "serve/imap/table.h"

/* Writes "* STATUS name (...)". items: enum imap_status_item. */
void imap_put_status(struct imap_session *s, struct str name, const struct mailbox_info *info, unsigned items);

#endif
