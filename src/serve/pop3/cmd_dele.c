/* DELE, RSET, NOOP (RFC 1939 5). Marks only; what is marked is removed at QUIT. */
#include "serve/pop3/table.h"

enum pop3_next pop3_cmd_dele(struct pop3_session *s, struct str arg)
{
    uint32_t i;
    if (pop3_message_number(s, arg, &i)) {
        maildrop_delete(s->drop, i);
        pop3_ok(s, "marked for removal");
    }
    return POP3_NEXT_COMMAND;
}

enum pop3_next pop3_cmd_rset(struct pop3_session *s, struct str arg)
{
    (void)arg;
    maildrop_undelete_all(s->drop);
    pop3_ok(s, "%u messages, %llu octets", s->drop->count, (unsigned long long)s->drop->bytes);
    return POP3_NEXT_COMMAND;
}

enum pop3_next pop3_cmd_noop(struct pop3_session *s, struct str arg)
{
    (void)arg;
    pop3_ok(s, "%s", "");
    return POP3_NEXT_COMMAND;
}
