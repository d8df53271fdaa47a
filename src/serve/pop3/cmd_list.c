/* LIST (RFC 1939 5) and UIDL (RFC 1939 7). A unique-id is uidvalidity.uid: it never changes, and never comes again. */
#include "serve/pop3/table.h"

enum { LINE_ROOM = 64 };

bool pop3_message_number(struct pop3_session *s, struct str arg, uint32_t *index)
{
    uint32_t n;
    if (!str_to_u32(arg, &n) || n == 0) {
        pop3_err(s, POP3_CODE_NONE, "not a message number");
        return false;
    }
    if (n > s->drop->count || maildrop_is_deleted(s->drop, n - 1)) {
        pop3_err(s, POP3_CODE_NONE, "no such message, there are %u", s->drop->count - s->drop->deleted_count);
        return false;
    }
    *index = n - 1;
    return true;
}

static bool put_number(struct pop3_session *s, uint32_t n)
{
    if (buf_room(s->out) < LINE_ROOM)
        return false;
    buf_add_u64(s->out, n);
    buf_add_c(s->out, ' ');
    return true;
}

static enum pop3_more list_more(struct pop3_session *s)
{
    const struct pop3_maildrop *m = s->drop;
    for (uint32_t *at = &s->answer.at; *at < m->count; ++*at) {
        if (maildrop_is_deleted(m, *at))
            continue;
        if (!put_number(s, *at + 1))
            return POP3_MORE;
        buf_add_u64(s->out, m->messages[*at].size);
        buf_add(s->out, STR("\r\n"));
    }
    pop3_end(s);
    return POP3_DONE;
}

enum pop3_next pop3_cmd_list(struct pop3_session *s, struct str arg)
{
    const struct pop3_maildrop *m = s->drop;
    uint32_t i;
    if (arg.n == 0) {
        pop3_ok(s, "%u messages, %llu octets", m->count - m->deleted_count, (unsigned long long)(m->bytes - m->deleted_bytes));
        pop3_session_answer(s, (struct pop3_answer){.more = list_more});
    } else if (pop3_message_number(s, arg, &i)) {
        pop3_ok(s, "%u %u", i + 1, m->messages[i].size);
    }
    return POP3_NEXT_COMMAND;
}

void pop3_cmd_uidl_capability(struct pop3_session *s) { pop3_line(s, "UIDL"); }

static enum pop3_more uidl_more(struct pop3_session *s)
{
    const struct pop3_maildrop *m = s->drop;
    for (uint32_t *at = &s->answer.at; *at < m->count; ++*at) {
        if (maildrop_is_deleted(m, *at))
            continue;
        if (!put_number(s, *at + 1))
            return POP3_MORE;
        buf_add_u64(s->out, m->uidvalidity);
        buf_add_c(s->out, '.');
        buf_add_u64(s->out, m->messages[*at].uid);
        buf_add(s->out, STR("\r\n"));
    }
    pop3_end(s);
    return POP3_DONE;
}

enum pop3_next pop3_cmd_uidl(struct pop3_session *s, struct str arg)
{
    uint32_t i;
    if (arg.n == 0) {
        pop3_ok(s, "unique-ids follow");
        pop3_session_answer(s, (struct pop3_answer){.more = uidl_more});
    } else if (pop3_message_number(s, arg, &i)) {
        pop3_ok(s, "%u %u.%u", i + 1, s->drop->uidvalidity, s->drop->messages[i].uid);
    }
    return POP3_NEXT_COMMAND;
}
