/* An IMAP session in tests: asks, and gives the whole answer. Logged in as carolyn@xyz.com. */
#ifndef SERVE_TESTING_IMAP_CLIENT_H
#define SERVE_TESTING_IMAP_CLIENT_H

#include "serve/testing/pump.h"
#include "serve/testing/world.h"

struct imap_client {
    struct session_peer peer;
    struct serve_context context;
    struct pump pump;
};

/* room: of the output buffer; the smallest that a session must be content with is SESSION_OUTPUT_LOW + some. */
void imap_client_open(struct imap_client *c, struct world *w, size_t room);
void imap_client_close(struct imap_client *c);

/* Sends the line with CRLF behind it; returns what was said, a view until the next one. */
struct str imap_client_ask(struct imap_client *c, struct str line);

/* What an answer is: a row of whole responses of which the last is tagged; or it ends too early, inside a literal or not. */
enum imap_answer { IMAP_ANSWER_WHOLE, IMAP_ANSWER_CUT, IMAP_ANSWER_NONSENSE };
enum imap_answer imap_client_judge(struct str answer, struct str tag);

#endif
