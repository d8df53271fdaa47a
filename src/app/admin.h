/* The administration protocol: lines of JSON over a local socket, or in the same process.
 *
 *   client  {"do": "account.list", "domain": "xyz.com"}           one request at a time, its arguments beside "do"
 *   server  {"row": {...}}                                        any number: what the answer lists
 *           {"note": "text"}                                      progress and findings, for people
 *           {"message": {..., "size": N}} LF and N bytes          exports
 *           {"done": {...}}  or  {"error": {"class": "notfound", "text": "...", "detail": "..."}}     ends the answer
 *   client  {"append": {..., "size": N}} LF and N bytes           imports: while the request takes them
 *           {"end": true}                                         no more of them
 *
 * It is a session class (net/session.h) like any protocol: the running server's host serves it on a unix socket to its own user and
 * root (the peer's credentials are checked by the listener: session_peer.trusted_local), and where no server runs the command line
 * steps the same session itself on a store that it opened. Requests are one function each (admin_*.c) that may be called many
 * times: it says MORE while it has more to tell than fits, INPUT while it takes messages.
 *
 * Limits: a line ADMIN_LINE_MAX, a message the store's maximum. */
#ifndef APP_ADMIN_H
#define APP_ADMIN_H

#include <jansson.h>

#include "base/arena.h"
#include "base/buf.h"
#include "serve/services.h"
#include "store/store.h"

enum {
    ADMIN_LINE_MAX = SESSION_INPUT_MAX - 1, /* bytes */
    ADMIN_OUT_MAX = 96 << 20,               /* bytes that one call of a handler may put out */
    ADMIN_OUT_SLICE = 1 << 20,              /* a handler that has put out this much should say MORE */
};

/* What only the running server can do; all NULL where the store was opened by the command line. */
struct admin_host {
    void *context;
    enum st (*reload)(void *context, struct err *e);
    void (*stop)(void *context);
    void (*status)(void *context, json_t *into);
    enum st (*backup_path)(void *context, struct str name, struct buf *path, struct err *e); /* where the sandbox may write */
};

struct admin_context {
    const struct services *services;
    const struct admin_host *host;
    const char *data_dir;
    uint64_t message_max_bytes;
    const struct serve_context *imap; /* for sessions that are logged in already */
};

enum admin_outcome { ADMIN_DONE, ADMIN_MORE, ADMIN_INPUT };

/* One request in progress. */
struct admin_call {
    const struct admin_context *context;
    const struct session_peer *peer;
    json_t *args;       /* the request object; borrowed */
    struct arena arena; /* for the time of the request */
    struct buf *out;
    /* the message that came in, if the last outcome was INPUT; at its end both are empty and `ended` is set */
    json_t *frame;
    struct str data;
    bool ended;
    void *state; /* the handler's, from one call to the next */
    void (*state_free)(void *state);
    struct session *become; /* set by a handler that hands the connection over to another protocol */
};

typedef enum st admin_handler(struct admin_call *c, enum admin_outcome *outcome, struct err *e);
struct admin_request {
    const char *name; /* "account.add" */
    admin_handler *run;
};
/* The families, one file each; ended by a row without a name. */
extern const struct admin_request admin_accounts[], admin_names[], admin_queues[], admin_mailboxes[], admin_servers[];

struct session *admin_session_make(void *context, const struct session_peer *peer); /* context: struct admin_context */

/* ---- for handlers ---- */

/* A text argument, as a view into the request. ST_PERM if it is missing and required, or not a text. */
enum st admin_text(const struct admin_call *c, const char *name, bool required, struct str *out, struct err *e) MUST_USE;
enum st admin_number(const struct admin_call *c, const char *name, uint64_t fallback, uint64_t *out, struct err *e) MUST_USE;
bool admin_flag(const struct admin_call *c, const char *name);
/* Append {"row": value} and the like; they take the reference. */
void admin_row(struct admin_call *c, json_t *value);
void admin_note(struct admin_call *c, const char *text);
void admin_done(struct admin_call *c, json_t *value); /* NULL: {} */
void admin_message(struct admin_call *c, json_t *value, struct str bytes);
json_t *admin_json(struct str s); /* a text; bytes that are not UTF-8 become '?' */
/* The account of the argument "user" (a login name), opened; ST_NOTFOUND. */
enum st admin_open_user(struct admin_call *c, struct account **out, struct err *e) MUST_USE;

#endif
