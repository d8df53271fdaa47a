/* The command table of POP3: the only place that knows that a command exists. */
#ifndef SERVE_POP3_TABLE_H
#define SERVE_POP3_TABLE_H

#include "serve/pop3/reply.h"

enum pop3_next { POP3_NEXT_COMMAND, POP3_NEXT_TLS, POP3_NEXT_CLOSE };

enum pop3_command_flag {
    POP3_NO_ARGUMENT = 1 << 0,
    POP3_NEED_ARGUMENT = 1 << 1,
    POP3_SECRET = 1 << 2, /* the argument is not logged, and kept with its spaces */
};

struct pop3_command {
    const char *verb;
    enum pop3_next (*run)(struct pop3_session *s, struct str arg);
    unsigned states; /* bits 1 << enum pop3_state */
    unsigned flags;
    unsigned line_max; /* bytes with CRLF */
    const char *rfc;
    void (*capability)(struct pop3_session *s); /* writes its CAPA lines; NULL: none */
};

const struct pop3_command *pop3_table_find(struct str verb, size_t *index); /* NULL: unknown */
const struct pop3_command *pop3_table_get(size_t index);                    /* NULL behind the last */

enum pop3_next pop3_cmd_auth(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_auth_line(struct pop3_session *s, struct str line); /* a line in POP3_SASL */
enum pop3_next pop3_cmd_capa(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_dele(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_lang(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_list(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_noop(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_pass(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_quit(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_retr(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_rset(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_stat(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_stls(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_top(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_uidl(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_user(struct pop3_session *s, struct str arg);
enum pop3_next pop3_cmd_utf8(struct pop3_session *s, struct str arg);

void pop3_cmd_auth_capability(struct pop3_session *s);
void pop3_cmd_capa_capability(struct pop3_session *s);
void pop3_cmd_lang_capability(struct pop3_session *s);
void pop3_cmd_stls_capability(struct pop3_session *s);
void pop3_cmd_top_capability(struct pop3_session *s);
void pop3_cmd_uidl_capability(struct pop3_session *s);
void pop3_cmd_user_capability(struct pop3_session *s);
void pop3_cmd_utf8_capability(struct pop3_session *s);

/* A message number that is there and not marked as deleted, as index from 0. False: it was answered. */
bool pop3_message_number(struct pop3_session *s, struct str arg, uint32_t *index);
/* RETR and TOP: begins the answer; `lines` of the body, UINT32_MAX: all. */
enum pop3_next pop3_message_send(struct pop3_session *s, uint32_t index, bool top, uint32_t lines);
/* One more failed login; too many close the session. */
enum pop3_next pop3_login_failed(struct pop3_session *s, const struct err *e);

#endif
