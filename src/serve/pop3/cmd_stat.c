/* STAT (RFC 1939 5). */
#include "serve/pop3/table.h"

enum pop3_next pop3_cmd_stat(struct pop3_session *s, struct str arg)
{
    (void)arg;
    const struct pop3_maildrop *m = s->drop;
    pop3_ok(s, "%u %llu", m->count - m->deleted_count, (unsigned long long)(m->bytes - m->deleted_bytes));
    return POP3_NEXT_COMMAND;
}
