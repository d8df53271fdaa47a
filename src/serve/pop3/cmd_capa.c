/* CAPA (RFC 2449 5), from the command table. */
#include "serve/pop3/table.h"

/* What no command stands for. */
void pop3_cmd_capa_capability(struct pop3_session *s)
{
    pop3_line(s, "RESP-CODES");
    pop3_line(s, "AUTH-RESP-CODE");
    pop3_line(s, "PIPELINING");
    pop3_line(s, "EXPIRE NEVER");
    pop3_line(s, "LOGIN-DELAY 0");
    pop3_line(s, "IMPLEMENTATION Postrider");
}

enum pop3_next pop3_cmd_capa(struct pop3_session *s, struct str arg)
{
    (void)arg;
    const struct pop3_command *c;
    pop3_ok(s, "capabilities follow");
    for (size_t i = 0; (c = pop3_table_get(i)); i++)
        if (c->capability)
            c->capability(s);
    pop3_end(s);
    return POP3_NEXT_COMMAND;
}
