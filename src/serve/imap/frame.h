/* From input to commands: lines, literals (RFC 9051 4.3, 7888), limits. See imap.h for the phases. */
#ifndef SERVE_IMAP_FRAME_H
#define SERVE_IMAP_FRAME_H

#include "serve/imap/imap.h"

/* Takes some of the input in one of the phases LINE, LITERAL, STREAM, DISCARD, SKIP, WAIT; returns how many bytes, 0: needs more. A
 * command that is complete is started. */
size_t imap_frame_take(struct imap_session *s, struct str in);

/* session.c: the command's text is complete, or its reply is kept already (`refused`). */
void imap_session_start(struct imap_session *s);
void imap_session_finish(struct imap_session *s, enum imap_next next);

#endif
