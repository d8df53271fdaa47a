/* RETR (RFC 1939 5) and TOP (RFC 1939 7): the bytes of the message as they came in, dots stuffed, in pieces that fit. */
#include "base/rd.h"
#include "serve/pop3/table.h"

enum { PIECE_MAX = 64 << 10 };

/* How much of the piece TOP still wants; *end: not more than that. */
static size_t top_wanted(struct pop3_answer *a, struct str piece, bool *end)
{
    struct rd r = rd_of(piece);
    while (!rd_end(&r)) {
        struct str line = rd_until(&r, '\n');
        bool text = a->line_has_text || (line.n && !str_eq(line, STR("\r")));
        a->line_has_text = text;
        if (!rd_accept(&r, '\n'))
            break; /* the line goes on in the next piece */
        a->line_has_text = false;
        if (a->in_header && !text)
            a->in_header = false;
        else if (!a->in_header)
            a->lines_left--;
        *end = !a->in_header && a->lines_left == 0;
        if (*end)
            break;
    }
    return rd_offset(&r);
}

/* A header in UTF-8 (RFC 6532) needs a client that said UTF8. Other bytes over 127 are not that, and old clients know them. */
static bool header_is_utf8(struct str piece)
{
    size_t blank = str_find(piece, STR("\r\n\r\n"));
    struct str header = str_upto(piece, blank);
    while (header.n && !str_is_utf8(header) && header.n + 4 > str_upto(piece, blank).n)
        header.n--; /* a character cut by the end of the piece */
    return !str_is_ascii(header) && str_is_utf8(header);
}

static size_t piece_size(const struct pop3_session *s)
{
    uint64_t left = s->drop->messages[s->answer.at].size - s->answer.offset;
    size_t room = buf_room(s->out) / 2; /* stuffing can at most double a piece */
    size_t n = room > 64 ? room - 64 : 0;
    if (n > PIECE_MAX)
        n = PIECE_MAX;
    return left < n ? (size_t)left : n;
}

static enum pop3_more piece_put(struct pop3_session *s, struct str piece)
{
    struct pop3_answer *a = &s->answer;
    bool end = false;
    struct str wanted = a->top ? str_upto(piece, top_wanted(a, piece, &end)) : piece;
    dot_encode(&a->dot, wanted, s->out);
    a->offset += piece.n;
    s->retrieved_bytes += wanted.n;
    if (!end && a->offset < s->drop->messages[a->at].size)
        return POP3_MORE;
    dot_encode_end(&a->dot, s->out);
    s->retrieved++;
    return POP3_DONE;
}

static enum pop3_more more(struct pop3_session *s)
{
    enum pop3_more more = POP3_MORE;
    while (more == POP3_MORE && buf_room(s->out) >= SESSION_OUTPUT_LOW) {
        DEFER(buf_release) struct buf piece = BUF_INIT(PIECE_MAX);
        struct err e = {0};
        enum st st = maildrop_read(s->drop, s->answer.at, s->answer.offset, piece_size(s), &piece, &e);
        if (st != ST_OK || piece.n == 0 || !buf_ok(&piece))
            return POP3_BROKEN;
        more = piece_put(s, buf_str(&piece));
    }
    return more;
}

static enum pop3_next not_there(struct pop3_session *s, enum st st, const struct err *e)
{
    if (st == ST_NOTFOUND)
        pop3_err(s, POP3_CODE_NONE, "this message was removed by another session");
    else
        pop3_err(s, e->class == ST_CORRUPT ? POP3_CODE_SYS_PERM : POP3_CODE_SYS_TEMP, "the message cannot be read");
    return POP3_NEXT_COMMAND;
}

enum pop3_next pop3_message_send(struct pop3_session *s, uint32_t index, bool top, uint32_t lines)
{
    DEFER(buf_release) struct buf piece = BUF_INIT(PIECE_MAX);
    struct err e = {0};
    const struct pop3_message *m = &s->drop->messages[index];
    struct pop3_answer answer = {.more = more, .at = index, .top = top, .in_header = true, .lines_left = lines};
    dot_encoder_init(&answer.dot, false);
    s->answer = answer;
    enum st st = maildrop_read(s->drop, index, 0, piece_size(s), &piece, &e);
    bool utf8 = !s->utf8 && s->settings->pop3_utf8_strict && header_is_utf8(buf_str(&piece));
    if (st != ST_OK || utf8 || !buf_ok(&piece) || (piece.n == 0 && m->size)) {
        s->answer = (struct pop3_answer){0};
        if (!utf8)
            return not_there(s, st, &e);
        pop3_err(s, POP3_CODE_UTF8, "this message needs the UTF8 command");
        return POP3_NEXT_COMMAND;
    }
    if (top)
        pop3_ok(s, "the beginning of the message follows");
    else
        pop3_ok(s, "%u octets", m->size);
    if (piece_put(s, buf_str(&piece)) == POP3_DONE)
        s->answer = (struct pop3_answer){0};
    else
        s->state = POP3_ANSWERING;
    return POP3_NEXT_COMMAND;
}

enum pop3_next pop3_cmd_retr(struct pop3_session *s, struct str arg)
{
    uint32_t i;
    return pop3_message_number(s, arg, &i) ? pop3_message_send(s, i, false, 0) : POP3_NEXT_COMMAND;
}

void pop3_cmd_top_capability(struct pop3_session *s) { pop3_line(s, "TOP"); }

enum pop3_next pop3_cmd_top(struct pop3_session *s, struct str arg)
{
    size_t space = str_find_char(arg, ' ');
    uint32_t i, lines;
    if (space == STR_NPOS || !str_to_u32(str_trim(str_from(arg, space)), &lines)) {
        pop3_err(s, POP3_CODE_NONE, "TOP needs a message number and a number of lines");
        return POP3_NEXT_COMMAND;
    }
    return pop3_message_number(s, str_upto(arg, space), &i) ? pop3_message_send(s, i, true, lines) : POP3_NEXT_COMMAND;
}
