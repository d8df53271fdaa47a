/* QUIT (RFC 1939 4, 6): the only way by which messages are removed; the reply comes after the commit. */
#include "serve/pop3/report.h"
#include "serve/pop3/table.h"

enum pop3_next pop3_cmd_quit(struct pop3_session *s, struct str arg)
{
    (void)arg;
    struct err e = {0};
    if (!s->drop) {
        pop3_ok(s, "bye");
        return POP3_NEXT_CLOSE;
    }
    if (maildrop_update(s->drop, &s->removed, &e) != ST_OK) {
        pop3_report_update(s, &e);
        pop3_err(s, POP3_CODE_SYS_TEMP, "the marked messages were not removed");
        return POP3_NEXT_CLOSE;
    }
    pop3_ok(s, "bye, %llu removed", (unsigned long long)s->removed);
    return POP3_NEXT_CLOSE;
}
