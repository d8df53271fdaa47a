/* The command table: the only place that knows that a command exists. Dispatch, CAPABILITY, states, what news may be told after it,
 * metrics and the manual come from it. */
#ifndef SERVE_IMAP_TABLE_H
#define SERVE_IMAP_TABLE_H

#include "serve/imap/imap.h"

enum imap_verb_flag {
    IMAP_VERB_ARGS = 1 << 0,          /* has arguments: args stand behind the space; without this flag there may be none */
    IMAP_VERB_UID = 1 << 1,           /* exists as "UID x" too; c->uid tells */
    IMAP_VERB_NO_EXPUNGE = 1 << 2,    /* without UID, no EXPUNGE may be told before its reply (RFC 9051 7.5.1) */
    IMAP_VERB_NEWS_BEFORE = 1 << 3,   /* flag changes of others are told before it runs (so that its own can be told apart) */
    IMAP_VERB_NO_NEWS = 1 << 4,       /* nothing is told before its reply */
    IMAP_VERB_OPTIONAL_ARGS = 1 << 5, /* with ARGS: there may be none; then args are at the end */
};

/* A literal is announced at the end of what is collected so far. */
struct imap_literal {
    uint64_t size;
    bool literal8;      /* "~{" */
    bool synchronizing; /* the client waits for "+" */
};
enum imap_literal_verdict {
    IMAP_LITERAL_COLLECT, /* an ordinary argument: into the text, if it fits */
    IMAP_LITERAL_STREAM,  /* to the stream hook */
    IMAP_LITERAL_REFUSE,  /* the tagged reply is kept (imap_no ...); the command ends */
};

struct imap_verb {
    const char *name;
    enum imap_next (*run)(struct imap_session *s, struct imap_command *c);
    unsigned states; /* enum imap_state bits; elsewhere BAD */
    unsigned flags;
    const char *capabilities; /* what is advertised because this works, separated by spaces; NULL: nothing */
    const char *rfc, *help;
    /* Only for commands with arguments too large to collect; c->args are what was collected before the literal, or since the last
     * streamed one. */
    enum imap_literal_verdict (*literal)(struct imap_session *s, struct imap_command *c, const struct imap_literal *l);
    void (*stream)(struct imap_session *s, struct imap_command *c, struct str piece);
};

/* By name, in any case; NULL: unknown. */
const struct imap_verb *imap_table_find(struct str name);
const struct imap_verb *imap_table_get(size_t index); /* NULL behind the last */
size_t imap_table_index(const struct imap_verb *v);
/* Appends what CAPABILITY says in the session's state: "IMAP4rev2 IMAP4rev1 ..." */
void imap_table_capabilities(struct imap_session *s, struct buf *out);

enum imap_next imap_cmd_append(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_authenticate(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_capability(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_check(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_close(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_copy(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_create(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_delete(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_enable(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_examine(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_expunge(struct imap_session *s, struct imap_command *c); /* and UID EXPUNGE */
enum imap_next imap_cmd_fetch(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_getquota(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_getquotaroot(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_id(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_idle(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_list(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_login(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_logout(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_lsub(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_move(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_namespace(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_noop(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_rename(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_search(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_select(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_starttls(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_status(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_store(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_subscribe(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_unselect(struct imap_session *s, struct imap_command *c);
enum imap_next imap_cmd_unsubscribe(struct imap_session *s, struct imap_command *c);

enum imap_literal_verdict imap_cmd_append_literal(struct imap_session *s, struct imap_command *c, const struct imap_literal *l);
void imap_cmd_append_stream(struct imap_session *s, struct imap_command *c, struct str piece);

#endif
