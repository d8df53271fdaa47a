/* RETR (RFC 1939 5) and TOP (RFC 1939 7): the bytes of the message as they came in, dots stuffed, in pieces that fit. */
#include "base/rd.h"
#include "serve/pop3/table.h"

/* Stuffing can at most double a piece. */
enum { PIECE_MAX = SESSION_OUTPUT_MAX / 2 - 64 };

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
    if (str_is_ascii(header))
        return false;
    while (header.n && !str_is_utf8(header) && header.n + 4 > str_upto(piece, blank).n)
        header.n--; /* a character cut by the end of the piece */
    return str_is_utf8(header);
}

static uint64_t left(const struct pop3_session *s) { return s->drop->messages[s->answer.at].size - s->answer.offset; }

static size_t piece_max(const struct pop3_session *s)
{
    size_t room = buf_room(s->out) / 2;
    return room > 64 ? room - 64 : 0;
}

/* The store reads and unpacks a message whole, however little of it is wanted: so what would be cut now, but fits into an empty
 * output, waits until the output has drained. */
static bool waits(const struct pop3_session *s) { return s->out->n > 0 && left(s) > piece_max(s) && left(s) <= PIECE_MAX; }

/* Appends the next piece as it is in the store. */
static enum st piece_read(struct pop3_session *s, struct err *e)
{
    size_t n = left(s) < piece_max(s) ? (size_t)left(s) : piece_max(s);
    return maildrop_read(s->drop, s->answer.at, s->answer.offset, n, s->out, e);
}

/* Makes of the piece in the output, from `from` on, what goes over the wire. */
static enum pop3_more piece_put(struct pop3_session *s, size_t from)
{
    struct pop3_answer *a = &s->answer;
    struct str piece = str_from(buf_str(s->out), from);
    bool end = false;
    a->offset += piece.n;
    if (a->top)
        buf_cut(s->out, from + top_wanted(a, piece, &end));
    s->retrieved_bytes += s->out->n - from;
    dot_encode_in_place(&a->dot, s->out, from);
    if (!end && a->offset < s->drop->messages[a->at].size)
        return POP3_MORE;
    dot_encode_end(&a->dot, s->out);
    s->retrieved++;
    return POP3_DONE;
}

static enum pop3_more refuse(struct pop3_session *s, enum st st, const struct err *e)
{
    if (st == ST_NOTFOUND)
        pop3_err(s, POP3_CODE_NONE, "this message was removed by another session");
    else
        pop3_err(s, e->class == ST_CORRUPT ? POP3_CODE_SYS_PERM : POP3_CODE_SYS_TEMP, "the message cannot be read");
    return POP3_DONE;
}

/* The status line comes first, and is taken back if there is nothing to say it of. */
static enum pop3_more begin(struct pop3_session *s)
{
    struct err e = {0};
    struct pop3_answer *a = &s->answer;
    uint32_t size = s->drop->messages[a->at].size;
    size_t before = s->out->n;
    if (a->top)
        pop3_ok(s, "the beginning of the message follows");
    else
        pop3_ok(s, "%u octets", size);
    size_t from = s->out->n;
    enum st st = piece_read(s, &e);
    struct str piece = str_from(buf_str(s->out), from);
    bool utf8 = !s->utf8 && s->settings->pop3_utf8_strict && header_is_utf8(piece);
    a->begun = st == ST_OK && !utf8 && (piece.n > 0 || size == 0);
    if (a->begun)
        return piece_put(s, from);
    buf_cut(s->out, before);
    if (!utf8)
        return refuse(s, st, &e);
    pop3_err(s, POP3_CODE_UTF8, "this message needs the UTF8 command");
    return POP3_DONE;
}

static enum pop3_more more(struct pop3_session *s)
{
    enum pop3_more more = POP3_MORE;
    if (!s->answer.begun)
        more = begin(s);
    while (more == POP3_MORE && buf_room(s->out) >= SESSION_OUTPUT_LOW && !waits(s)) {
        struct err e = {0};
        size_t from = s->out->n;
        if (piece_read(s, &e) != ST_OK || s->out->n == from)
            return POP3_BROKEN;
        more = piece_put(s, from);
    }
    return more;
}

enum pop3_next pop3_message_send(struct pop3_session *s, uint32_t index, bool top, uint32_t lines)
{
    s->answer = (struct pop3_answer){.more = more, .at = index, .top = top, .in_header = true, .lines_left = lines};
    dot_encoder_init(&s->answer.dot, false);
    if (waits(s) || begin(s) == POP3_MORE)
        s->state = POP3_ANSWERING;
    else
        s->answer = (struct pop3_answer){0};
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
