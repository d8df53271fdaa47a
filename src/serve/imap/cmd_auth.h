/* What LOGIN and AUTHENTICATE share. */
#ifndef SERVE_IMAP_CMD_AUTH_H
#define SERVE_IMAP_CMD_AUTH_H

#include "serve/imap/table.h"

enum imap_next imap_auth_failed(struct imap_session *s, const struct err *e);
enum imap_next imap_auth_done(struct imap_session *s, const struct identity *who);

#endif
