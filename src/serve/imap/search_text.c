/* Looking into headers and text, decoded and folded (RFC 9051 6.4.4: substring, case-insensitive; RFC 5051). Memory is a message of
 * moderate size, or a piece at a time. */
#include "format/charset.h"
#include "format/header.h"
#include "format/mime.h"
#include "serve/imap/search.h"

bool search_digest(struct search_message *m)
{
    if (m->has_digest)
        return true;
    m->digest_bytes.max = DIGEST_SIZE_MAX;
    buf_clear(&m->digest_bytes);
    m->has_digest = message_digest(m->s->account, m->entry->email, &m->digest_bytes, &m->err) == ST_OK &&
                    digest_open(buf_str(&m->digest_bytes), &m->digest, &m->err) == ST_OK;
    return m->has_digest;
}

static bool read_bytes(struct search_message *m, uint64_t offset, size_t n, struct buf *out)
{
    size_t before = out->n;
    if (!m->has_email)
        m->has_email = message_email(m->s->account, m->entry->email, &m->email, &m->err) == ST_OK;
    if (!m->has_email || message_read_email(m->s->account, &m->email, offset, n, out, &m->err) != ST_OK)
        return false;
    m->read_bytes += n;
    if (out->n - before == n)
        return true;
    (void)!ERR(&m->err, ST_CORRUPT, "A message is shorter in the store than it should be", "%zu bytes of %zu", out->n - before, n);
    return false;
}

/* Bytes of the message: a view into it if it is held as a whole, else read into `room`. p NULL: they cannot be had. */
static struct str bytes_of(struct search_message *m, uint64_t offset, size_t n, struct buf *room)
{
    if (n == 0)
        return STR("");
    if (m->entry->size <= SEARCH_WHOLE_MAX && !m->has_bytes) {
        m->bytes.max = SEARCH_WHOLE_MAX;
        buf_clear(&m->bytes);
        m->has_bytes = read_bytes(m, 0, m->entry->size, &m->bytes);
        if (!m->has_bytes)
            return STR_NONE;
    }
    if (m->has_bytes)
        return str_sub(buf_str(&m->bytes), (size_t)offset, n);
    buf_clear(room);
    return read_bytes(m, offset, n, room) ? buf_str(room) : STR_NONE;
}

/* ---- headers ---- */

/* with_name: "Subject: text" is looked through, as one reads it. */
static bool field_contains(struct search_message *m, const struct header_field *field, bool with_name, struct str needle)
{
    m->text.max = SEARCH_HEADER_MAX;
    m->folded.max = SEARCH_HEADER_MAX * 4;
    buf_clear(&m->text);
    buf_clear(&m->folded);
    if (with_name) {
        buf_add(&m->text, field->name);
        buf_add(&m->text, STR(": "));
    }
    header_decode(field->value, &m->text);
    charset_fold(buf_str(&m->text), &m->folded);
    return str_find(buf_str(&m->folded), needle) != STR_NPOS;
}

static bool any_field_contains(struct search_message *m, struct str header, struct str needle)
{
    struct header_iter it;
    struct header_field field;
    header_first(&it, header);
    while (header_next(&it, &field))
        if (field_contains(m, &field, true, needle))
            return true;
    return false;
}

/* The top-level header: from the digest, or read (at most SEARCH_HEADER_MAX of it). */
static bool top_header(struct search_message *m, struct buf *room, struct str *out)
{
    if (!search_digest(m))
        return false;
    *out = m->digest.header;
    if (m->digest.flags & DIGEST_HEADER_WHOLE)
        return true;
    size_t n = m->digest.header_bytes < SEARCH_HEADER_MAX ? m->digest.header_bytes : SEARCH_HEADER_MAX;
    *out = bytes_of(m, 0, n, room);
    return out->p != NULL;
}

static bool named_field_contains(struct search_message *m, struct str header, struct str name, struct str needle)
{
    struct header_iter it;
    struct header_field field;
    header_first(&it, header);
    while (header_next(&it, &field))
        if (str_eq_nocase(field.name, name) && (needle.n == 0 || field_contains(m, &field, false, needle)))
            return true;
    return false;
}

/* The digest's table says where the fields are. */
static bool listed_field_contains(struct search_message *m, struct str name, struct str needle)
{
    struct digest_fields it;
    struct digest_field field;
    digest_fields_first(&it);
    while (digest_fields_find(&m->digest, name, &it, &field))
        if (needle.n == 0 || named_field_contains(m, str_sub(m->digest.header, field.offset, field.bytes), name, needle))
            return true;
    return false;
}

bool search_header(struct search_message *m, struct str name, struct str folded)
{
    DEFER(buf_release) struct buf room = BUF_INIT(SEARCH_HEADER_MAX);
    struct str header;
    if (!search_digest(m))
        return false;
    if ((m->digest.flags & DIGEST_HEADER_WHOLE) && !(m->digest.flags & DIGEST_FIELDS_CUT))
        return listed_field_contains(m, name, folded);
    return top_header(m, &room, &header) && named_field_contains(m, header, name, folded);
}

/* ---- bodies ---- */

/* A window over decoded text: the folded end of the last piece stays in front of the next, so that what lies across is found. */
struct window {
    struct str needle;
    struct transfer_decoder transfer;
    struct charset_decoder charset;
    struct buf decoded, utf8, folded;
};

static void window_open(struct window *w, const struct digest_part *part, struct str needle)
{
    *w = (struct window){.needle = needle,
                         .decoded = BUF_INIT(SEARCH_PIECE * 2),
                         .utf8 = BUF_INIT(SEARCH_PIECE * 8),
                         .folded = BUF_INIT(SEARCH_PIECE * 32 + needle.n)};
    transfer_decoder_init(&w->transfer, part->encoding);
    charset_decoder_open(&w->charset, part->charset);
}

static void window_close(struct window *w)
{
    charset_decoder_close(&w->charset);
    buf_release(&w->decoded);
    buf_release(&w->utf8);
    buf_release(&w->folded);
}

/* `last`: nothing follows. */
static bool window_look(struct window *w, struct str piece, bool last)
{
    buf_clear(&w->decoded);
    buf_clear(&w->utf8);
    struct str decoded = piece;
    if (!transfer_is_identity(w->transfer.encoding)) {
        transfer_decode(&w->transfer, piece, &w->decoded);
        if (last)
            transfer_decode_end(&w->transfer, &w->decoded);
        decoded = buf_str(&w->decoded);
    }
    charset_decode(&w->charset, decoded, &w->utf8);
    if (last)
        charset_decode_end(&w->charset, &w->utf8);
    charset_fold(buf_str(&w->utf8), &w->folded);
    if (str_find(buf_str(&w->folded), w->needle) != STR_NPOS)
        return true;
    size_t keep = w->needle.n - 1;
    if (w->folded.n > keep)
        buf_drop_front(&w->folded, w->folded.n - keep);
    w->folded.failed = false;
    return false;
}

static bool part_contains(struct search_message *m, const struct digest_part *part, struct str needle)
{
    DEFER(buf_release) struct buf room = BUF_INIT(SEARCH_PIECE);
    struct window w;
    bool found = false, ok = true;
    window_open(&w, part, needle);
    for (uint64_t at = 0; ok && !found && at < part->body_bytes; at += SEARCH_PIECE) {
        uint64_t left = part->body_bytes - at, n = left < SEARCH_PIECE ? left : SEARCH_PIECE;
        struct str piece = bytes_of(m, part->body_offset + at, (size_t)n, &room);
        ok = piece.p != NULL;
        found = ok && window_look(&w, piece, n == left);
    }
    window_close(&w);
    return found;
}

/* Text, and what is said in messages about messages (RFC 9051 6.4.4: other types may be left out). A multipart or message that is a
 * leaf has a structure nobody could read: it is taken as text. */
static bool is_text(const struct digest_part *part)
{
    return part->kind == MIME_LEAF && (part->type.n == 0 || str_eq(part->type, STR("text")) || str_eq(part->type, STR("message")) ||
                                       str_eq(part->type, STR("multipart")));
}

static bool part_header_contains(struct search_message *m, const struct digest_part *part, struct str needle)
{
    DEFER(buf_release) struct buf room = BUF_INIT(SEARCH_HEADER_MAX);
    size_t n = part->header_bytes < SEARCH_HEADER_MAX ? part->header_bytes : SEARCH_HEADER_MAX;
    struct str header = bytes_of(m, part->header_offset, n, &room);
    return header.p && any_field_contains(m, header, needle);
}

static bool top_header_contains(struct search_message *m, struct str needle)
{
    DEFER(buf_release) struct buf room = BUF_INIT(SEARCH_HEADER_MAX);
    struct str header;
    return top_header(m, &room, &header) && any_field_contains(m, header, needle);
}

bool search_body(struct search_message *m, struct str folded, bool headers)
{
    struct digest_part part;
    uint32_t at = 0;
    if (!search_digest(m))
        return false;
    if (folded.n == 0)
        return true;
    if (headers && top_header_contains(m, folded))
        return true;
    while (m->err.class == ST_OK && digest_part_next(&m->digest, &at, &part)) {
        bool below = part.header_offset > 0 && part.header_bytes > 0; /* the first is the message, whose header was looked at */
        if (headers && below && part_header_contains(m, &part, folded))
            return true;
        if (is_text(&part) && part_contains(m, &part, folded))
            return true;
    }
    return false;
}
