/* HELP (RFC 5321 4.1.1.8), from the command table. */
#include <stdio.h>

#include "serve/smtp/table.h"

void smtp_cmd_help_keywords(struct smtp_session *s) { smtp_keyword(s, "HELP"); }

static void list(struct smtp_session *s)
{
    char line[400];
    size_t n = 0;
    const struct smtp_command *c;
    for (size_t i = 0; (c = smtp_table_get(i)); i++)
        if (!(c->flags & SMTP_HIDDEN) && (c->profiles & (1u << s->profile)) && n + 16 < sizeof line)
            n += (size_t)snprintf(line + n, sizeof line - n, "%s%s", n ? " " : "", c->verb);
    smtp_say_line(s, SMTP_SAY_HELP, true, STR("Commands, HELP with one of them says more:"));
    smtp_say_line(s, SMTP_SAY_HELP, false, str_make(line, n));
}

enum smtp_next smtp_cmd_help(struct smtp_session *s, struct str arg)
{
    size_t index;
    if (arg.n == 0) {
        list(s);
        return SMTP_NEXT_COMMAND;
    }
    const struct smtp_command *c = smtp_table_find(arg, s->profile, &index);
    if (!c || (c->flags & SMTP_HIDDEN)) {
        smtp_sayf(s, SMTP_SAY_BAD_PARAMETER, "No such command");
        return SMTP_NEXT_COMMAND;
    }
    char line[400];
    int n = snprintf(line, sizeof line, "%s%s%s (%s)", c->verb, c->help[0] ? " " : "", c->help, c->rfc);
    smtp_say_line(s, SMTP_SAY_HELP, false, str_make(line, n > 0 ? (size_t)n : 0));
    return SMTP_NEXT_COMMAND;
}
