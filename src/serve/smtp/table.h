/* The command table: the only place that knows that a command exists. Dispatch, the EHLO answer, HELP, line limits, metrics and
 * the manual come from it. */
#ifndef SERVE_SMTP_TABLE_H
#define SERVE_SMTP_TABLE_H

#include "serve/smtp/reply.h"

enum smtp_next { SMTP_NEXT_COMMAND, SMTP_NEXT_TLS, SMTP_NEXT_CLOSE };

enum smtp_command_flag {
    SMTP_NO_ARGUMENT = 1 << 0,   /* 501 if there is one */
    SMTP_NEED_ARGUMENT = 1 << 1, /* 501 if there is none */
    SMTP_IDLE = 1 << 2,          /* does not bring a transaction forward: counts to idle_commands_max */
    SMTP_HIDDEN = 1 << 3,        /* not in HELP */
};

struct smtp_command {
    const char *verb;
    /* arg: what follows the verb, without white space at the end; a view into the input. Writes its reply (or enters a state that
     * will) and says how to go on. */
    enum smtp_next (*run)(struct smtp_session *s, struct str arg);
    unsigned states;   /* bits 1 << enum smtp_state; elsewhere 503 */
    unsigned profiles; /* bits 1 << enum serve_profile; elsewhere 500 */
    unsigned flags;
    unsigned line_max; /* bytes with CRLF */
    const char *rfc, *help;
    /* Appends the EHLO keywords that this command stands for, as it is on offer now; NULL: none. Each by smtp_keyword(). */
    void (*keywords)(struct smtp_session *s);
};

enum { SMTP_LINE_MAX = 12288 + 2 }; /* the longest of all: AUTH, RFC 4954 4 */

/* NULL: unknown. *index for metrics. */
const struct smtp_command *smtp_table_find(struct str verb, enum serve_profile profile, size_t *index);
const struct smtp_command *smtp_table_get(size_t index); /* NULL behind the last */
/* One line of the EHLO answer; the last line of all is written by EHLO itself. */
void smtp_keyword(struct smtp_session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define SMTP_PROFILE_SMTP       (1u << SERVE_SMTP)
#define SMTP_PROFILE_SUBMISSION (1u << SERVE_SUBMISSION)
#define SMTP_PROFILE_LMTP       (1u << SERVE_LMTP)

enum smtp_next smtp_cmd_auth(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_auth_line(struct smtp_session *s, struct str line); /* a line in SMTP_SASL */
enum smtp_next smtp_cmd_bdat(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_data(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_ehlo(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_helo(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_expn(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_foreign(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_help(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_mail(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_noop(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_quit(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_rcpt(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_rset(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_starttls(struct smtp_session *s, struct str arg);
enum smtp_next smtp_cmd_vrfy(struct smtp_session *s, struct str arg);

void smtp_cmd_auth_keywords(struct smtp_session *s);
void smtp_cmd_bdat_keywords(struct smtp_session *s);
void smtp_cmd_help_keywords(struct smtp_session *s);
void smtp_cmd_mail_keywords(struct smtp_session *s);
void smtp_cmd_starttls_keywords(struct smtp_session *s);

unsigned smtp_cmd_mail_parameters(const struct smtp_session *s); /* enum smtp_param bits on offer */
bool smtp_cmd_auth_offered(const struct smtp_session *s);
bool smtp_cmd_bdat_binary_offered(const struct smtp_session *s);

#endif
