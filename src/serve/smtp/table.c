#include "serve/smtp/table.h"

#include <stdarg.h>

#define ST(x)      (1u << SMTP_##x)
#define COMMANDING (ST(NEW) | ST(READY) | ST(MAIL) | ST(BDAT))
#define EVERYBODY  (SMTP_PROFILE_SMTP | SMTP_PROFILE_SUBMISSION | SMTP_PROFILE_LMTP)
#define NOT_LMTP   (SMTP_PROFILE_SMTP | SMTP_PROFILE_SUBMISSION)
#define NO_ARG     SMTP_NO_ARGUMENT
#define NEED_ARG   SMTP_NEED_ARGUMENT
#define IDLE       SMTP_IDLE
#define HIDDEN     SMTP_HIDDEN
#define LINE       SMTP_COMMAND_LINE_MAX
#define RCPT_LINE  (SMTP_COMMAND_LINE_MAX + SMTP_ORCPT_MAX + 64) /* RFC 3461 4.1, NOTIFY */

/* In the order of how often they come. */
static const struct smtp_command commands[] = {
    {"RCPT", smtp_cmd_rcpt, ST(MAIL), EVERYBODY, NEED_ARG, RCPT_LINE, "RFC 5321 4.1.1.3", "TO:<address> [NOTIFY= ORCPT=]", NULL},
    {"MAIL", smtp_cmd_mail, ST(READY), EVERYBODY, NEED_ARG, SMTP_MAIL_LINE_MAX, "RFC 5321 4.1.1.2",
     "FROM:<address> [SIZE= BODY= SMTPUTF8 RET= ENVID= AUTH=]", smtp_cmd_mail_keywords},
    {"DATA", smtp_cmd_data, ST(MAIL), EVERYBODY, NO_ARG, LINE, "RFC 5321 4.1.1.4", "then the message, then a dot", NULL},
    {"BDAT", smtp_cmd_bdat, COMMANDING, EVERYBODY, 0, LINE, "RFC 3030 2", "size [LAST]", smtp_cmd_bdat_keywords},
    {"QUIT", smtp_cmd_quit, COMMANDING, EVERYBODY, NO_ARG, LINE, "RFC 5321 4.1.1.10", "", NULL},
    {"EHLO", smtp_cmd_ehlo, COMMANDING, NOT_LMTP, NEED_ARG | IDLE, LINE, "RFC 5321 4.1.1.1", "name", NULL},
    {"LHLO", smtp_cmd_ehlo, COMMANDING, SMTP_PROFILE_LMTP, NEED_ARG | IDLE, LINE, "RFC 2033 4.1", "name", NULL},
    {"HELO", smtp_cmd_helo, COMMANDING, NOT_LMTP, NEED_ARG | IDLE, LINE, "RFC 5321 4.1.1.1", "name", NULL},
    {"RSET", smtp_cmd_rset, COMMANDING, EVERYBODY, NO_ARG | IDLE, LINE, "RFC 5321 4.1.1.5", "", NULL},
    {"NOOP", smtp_cmd_noop, COMMANDING, EVERYBODY, IDLE, LINE, "RFC 5321 4.1.1.9", "[anything]", NULL},
    {"STARTTLS", smtp_cmd_starttls, ST(NEW) | ST(READY), EVERYBODY, NO_ARG | IDLE, LINE, "RFC 3207 4", "",
     smtp_cmd_starttls_keywords},
    {"AUTH", smtp_cmd_auth, ST(READY), NOT_LMTP, NEED_ARG, SMTP_LINE_MAX, "RFC 4954 4", "mechanism [initial-response]",
     smtp_cmd_auth_keywords},
    {"VRFY", smtp_cmd_vrfy, COMMANDING, EVERYBODY, NEED_ARG | IDLE, LINE, "RFC 5321 4.1.1.6", "string (does not tell)", NULL},
    {"HELP", smtp_cmd_help, COMMANDING, EVERYBODY, IDLE, LINE, "RFC 5321 4.1.1.8", "[command]", smtp_cmd_help_keywords},
    /* known, and never done */
    {"EXPN", smtp_cmd_expn, COMMANDING, EVERYBODY, HIDDEN | IDLE, LINE, "RFC 5321 4.1.1.7", "", NULL},
    {"SEND", smtp_cmd_expn, COMMANDING, EVERYBODY, HIDDEN | IDLE, LINE, "RFC 5321 F.6", "", NULL},
    {"SOML", smtp_cmd_expn, COMMANDING, EVERYBODY, HIDDEN | IDLE, LINE, "RFC 5321 F.6", "", NULL},
    {"SAML", smtp_cmd_expn, COMMANDING, EVERYBODY, HIDDEN | IDLE, LINE, "RFC 5321 F.6", "", NULL},
    {"TURN", smtp_cmd_expn, COMMANDING, EVERYBODY, HIDDEN | IDLE, LINE, "RFC 5321 F.1", "", NULL},
    {"ETRN", smtp_cmd_expn, COMMANDING, EVERYBODY, HIDDEN | IDLE, LINE, "RFC 1985", "", NULL},
    /* Browsers and proxies that are made to talk to us: what follows is chosen by an attacker, so not a line more is read. */
    {"GET", smtp_cmd_foreign, COMMANDING, EVERYBODY, HIDDEN, SMTP_LINE_MAX, "", "", NULL},
    {"POST", smtp_cmd_foreign, COMMANDING, EVERYBODY, HIDDEN, SMTP_LINE_MAX, "", "", NULL},
    {"PUT", smtp_cmd_foreign, COMMANDING, EVERYBODY, HIDDEN, SMTP_LINE_MAX, "", "", NULL},
    {"HEAD", smtp_cmd_foreign, COMMANDING, EVERYBODY, HIDDEN, SMTP_LINE_MAX, "", "", NULL},
    {"OPTIONS", smtp_cmd_foreign, COMMANDING, EVERYBODY, HIDDEN, SMTP_LINE_MAX, "", "", NULL},
    {"CONNECT", smtp_cmd_foreign, COMMANDING, EVERYBODY, HIDDEN, SMTP_LINE_MAX, "", "", NULL},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

const struct smtp_command *smtp_table_find(struct str verb, enum serve_profile profile, size_t *index)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct smtp_command *c = &commands[i];
        if (verb.n && ascii_upper(verb.p[0]) == c->verb[0] && str_eq_nocase(verb, str_of(c->verb)) &&
            (c->profiles & (1u << profile))) {
            *index = i;
            return c;
        }
    }
    *index = COMMANDS;
    return NULL;
}

const struct smtp_command *smtp_table_get(size_t index) { return index < COMMANDS ? &commands[index] : NULL; }
