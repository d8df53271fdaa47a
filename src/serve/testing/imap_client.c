#include "serve/testing/imap_client.h"

#include <stdio.h>

void imap_client_open(struct imap_client *c, struct world *w, size_t room)
{
    *c = (struct imap_client){.peer = {.loopback = true}};
    snprintf(c->peer.address, sizeof c->peer.address, "127.0.0.1");
    c->context = (struct serve_context){.services = &w->services, .profile = SERVE_IMAP};
    pump_init(&c->pump, imap_session_make(&c->context, &c->peer), room);
    pump_feed(&c->pump, STR("- LOGIN carolyn@xyz.com vegetables\r\n"), SIZE_MAX);
}

void imap_client_close(struct imap_client *c) { pump_release(&c->pump); }

struct str imap_client_ask(struct imap_client *c, struct str line)
{
    buf_clear(&c->pump.said);
    pump_feed(&c->pump, line, SIZE_MAX);
    pump_feed(&c->pump, STR("\r\n"), SIZE_MAX);
    return buf_str(&c->pump.said);
}

/* "{12}" or "~{12}" at the end of the line */
static bool announces(struct str line, uint64_t *size)
{
    size_t open = str_rfind_char(line, '{');
    return str_ends(line, STR("}")) && open != STR_NPOS && str_to_u64(str_sub(line, open + 1, line.n - open - 2), size);
}

/* Takes one response off: lines, and literals between them. False: it ends too early. */
static bool take_response(struct str *rest, struct str *first)
{
    *first = STR_NONE;
    for (;;) {
        size_t end = str_find(*rest, STR("\r\n"));
        uint64_t size;
        if (end == STR_NPOS)
            return false;
        struct str line = str_upto(*rest, end);
        if (!first->p)
            *first = line;
        *rest = str_from(*rest, end + 2);
        if (!announces(line, &size))
            return true;
        if (size > rest->n)
            return false;
        *rest = str_from(*rest, (size_t)size);
    }
}

enum imap_answer imap_client_judge(struct str answer, struct str tag)
{
    struct str line = STR_NONE;
    while (answer.n) {
        if (!take_response(&answer, &line))
            return IMAP_ANSWER_CUT;
        bool tagged = str_starts(line, tag) && line.n > tag.n && line.p[tag.n] == ' ';
        if (tagged)
            return answer.n ? IMAP_ANSWER_NONSENSE : IMAP_ANSWER_WHOLE;
        if (!str_starts(line, STR("* ")))
            return IMAP_ANSWER_NONSENSE;
    }
    return IMAP_ANSWER_CUT;
}
