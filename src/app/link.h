/* The command line's end of the administration protocol (app/admin.h): to the running server over its socket, or, where none runs,
 * to a session of the same code in this process on a store that is opened for it (and locked). One owner. */
#ifndef APP_LINK_H
#define APP_LINK_H

#include "app/command.h"
#include "base/buf.h"

struct link;

/* Finds the configuration from --dir or --config. */
enum st link_open(const struct command_line *line, struct link **out, struct err *e) MUST_USE;
void link_close(struct link *l);
bool link_is_local(const struct link *l); /* in this process: no server runs */

/* Takes the reference. */
enum st link_request(struct link *l, json_t *request, struct err *e) MUST_USE;

enum link_kind { LINK_ROW, LINK_NOTE, LINK_MESSAGE, LINK_DONE };
struct link_reply {
    enum link_kind kind;
    json_t *value;    /* borrowed until the next call */
    struct str bytes; /* of a message; a view until the next call */
};
/* The next part of the answer. An {"error"} becomes its class and text. */
enum st link_next(struct link *l, struct link_reply *reply, struct err *e) MUST_USE;
/* For requests that take messages. Takes the reference. */
enum st link_append(struct link *l, json_t *meta, struct str bytes, struct err *e) MUST_USE;
enum st link_end(struct link *l, struct err *e) MUST_USE;

/* After a failure to send: has the server said why? Then *e is that. */
bool link_said_why(struct link *l, struct err *e);

/* Request, then rows into `row` (NULL: ignored), notes to standard error, until done; *done (may be NULL) is owned by the caller.
 */
typedef void link_row(void *context, json_t *value);
enum st link_ask(struct link *l, json_t *request, link_row *row, void *context, json_t **done, struct err *e) MUST_USE;

/* Hands over the raw connection after {"done"} of a request that switched protocols. Local: steps the session in this process. */
enum st link_relay(struct link *l, int in_fd, int out_fd, struct err *e) MUST_USE;

#endif
