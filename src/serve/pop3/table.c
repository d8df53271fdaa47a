#include "serve/pop3/table.h"

#define A    (1u << POP3_AUTHORIZATION)
#define T    (1u << POP3_TRANSACTION)
#define NONE POP3_NO_ARGUMENT
#define NEED POP3_NEED_ARGUMENT
#define LINE POP3_COMMAND_LINE_MAX

/* In the order of how often they come. */
static const struct pop3_command commands[] = {
    {"RETR", pop3_cmd_retr, T, NEED, LINE, "RFC 1939 5", NULL},
    {"DELE", pop3_cmd_dele, T, NEED, LINE, "RFC 1939 5", NULL},
    {"TOP", pop3_cmd_top, T, NEED, LINE, "RFC 1939 7", pop3_cmd_top_capability},
    {"UIDL", pop3_cmd_uidl, T, 0, LINE, "RFC 1939 7", pop3_cmd_uidl_capability},
    {"LIST", pop3_cmd_list, T, 0, LINE, "RFC 1939 5", NULL},
    {"STAT", pop3_cmd_stat, T, NONE, LINE, "RFC 1939 5", NULL},
    {"USER", pop3_cmd_user, A, NEED | POP3_SECRET, POP3_PASSWORD_LINE_MAX, "RFC 1939 7", pop3_cmd_user_capability},
    {"PASS", pop3_cmd_pass, A, NEED | POP3_SECRET, POP3_PASSWORD_LINE_MAX, "RFC 1939 7", NULL},
    {"AUTH", pop3_cmd_auth, A, POP3_SECRET, POP3_LINE_MAX, "RFC 5034 4", pop3_cmd_auth_capability},
    {"QUIT", pop3_cmd_quit, A | T, NONE, LINE, "RFC 1939 4, 6", NULL},
    {"CAPA", pop3_cmd_capa, A | T, NONE, LINE, "RFC 2449 5", pop3_cmd_capa_capability},
    {"STLS", pop3_cmd_stls, A, NONE, LINE, "RFC 2595 4", pop3_cmd_stls_capability},
    {"NOOP", pop3_cmd_noop, T, NONE, LINE, "RFC 1939 5", NULL},
    {"RSET", pop3_cmd_rset, T, NONE, LINE, "RFC 1939 5", NULL},
    {"UTF8", pop3_cmd_utf8, A, NONE, LINE, "RFC 6856 2", pop3_cmd_utf8_capability},
    {"LANG", pop3_cmd_lang, A | T, 0, LINE, "RFC 6856 3", pop3_cmd_lang_capability},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

const struct pop3_command *pop3_table_find(struct str verb, size_t *index)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (!str_eq_nocase(verb, str_of(commands[i].verb)))
            continue;
        *index = i;
        return &commands[i];
    }
    *index = COMMANDS;
    return NULL;
}

const struct pop3_command *pop3_table_get(size_t index) { return index < COMMANDS ? &commands[index] : NULL; }
