/* Looking into headers and text, decoded and folded (RFC 9051 6.4.4: substring, case-insensitive; RFC 5051). Memory is a piece at a
 * time. */
#include "format/charset.h"
#include "format/header.h"
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

static bool contains_folded(struct str utf8, struct str needle)
{
    DEFER(buf_release) struct buf folded = BUF_INIT(SEARCH_HEADER_MAX * 4);
    charset_fold(utf8, &folded);
    return str_find(buf_str(&folded), needle) != STR_NPOS;
}

static bool field_contains(const struct header_field *field, struct str needle)
{
    DEFER(buf_release) struct buf text = BUF_INIT(SEARCH_HEADER_MAX);
    header_decode(field->value, &text);
    return contains_folded(buf_str(&text), needle);
}

/* The top-level header: from the digest, or read (at most SEARCH_HEADER_MAX of it). */
static bool top_header(struct search_message *m, struct buf *into, struct str *out)
{
    if (!search_digest(m))
        return false;
    *out = m->digest.header;
    if (m->digest.flags & DIGEST_HEADER_WHOLE)
        return true;
    size_t n = m->digest.header_bytes < SEARCH_HEADER_MAX ? m->digest.header_bytes : SEARCH_HEADER_MAX;
    if (message_read(m->s->account, m->entry->email, 0, n, into, &m->err) != ST_OK)
        return false;
    *out = buf_str(into);
    return true;
}

static bool header_contains(struct str header, struct str name, bool any_name, struct str needle)
{
    struct header_iter it;
    struct header_field field;
    header_first(&it, header);
    while (header_next(&it, &field)) {
        if (!any_name && !str_eq_nocase(field.name, name))
            continue;
        if (needle.n == 0 || field_contains(&field, needle) || (any_name && contains_folded(field.name, needle)))
            return true;
    }
    return false;
}

bool search_header(struct search_message *m, struct str name, struct str folded)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(SEARCH_HEADER_MAX);
    struct str header;
    return top_header(m, &bytes, &header) && header_contains(header, name, false, folded);
}

bool search_any_header(struct search_message *m, struct str folded)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(SEARCH_HEADER_MAX);
    struct str header;
    return top_header(m, &bytes, &header) && header_contains(header, STR_NONE, true, folded);
}

/* ---- bodies ---- */

/* A window over decoded text: the folded end of the last piece stays in front of the next, so that what lies across is found. */
struct window {
    struct str needle;
    struct transfer_decoder transfer;
    struct charset_decoder charset;
    struct buf raw, decoded, utf8, folded;
};

static void window_open(struct window *w, const struct digest_part *part, struct str needle)
{
    *w = (struct window){.needle = needle,
                         .raw = BUF_INIT(SEARCH_PIECE),
                         .decoded = BUF_INIT(SEARCH_PIECE * 2),
                         .utf8 = BUF_INIT(SEARCH_PIECE * 8),
                         .folded = BUF_INIT(SEARCH_PIECE * 32 + needle.n)};
    transfer_decoder_init(&w->transfer, part->encoding);
    charset_decoder_open(&w->charset, part->charset);
}

static void window_close(struct window *w)
{
    charset_decoder_close(&w->charset);
    buf_release(&w->raw);
    buf_release(&w->decoded);
    buf_release(&w->utf8);
    buf_release(&w->folded);
}

/* Looks at the piece in w->raw; `last`: nothing follows. */
static bool window_look(struct window *w, bool last)
{
    buf_clear(&w->decoded);
    buf_clear(&w->utf8);
    transfer_decode(&w->transfer, buf_str(&w->raw), &w->decoded);
    if (last)
        transfer_decode_end(&w->transfer, &w->decoded);
    charset_decode(&w->charset, buf_str(&w->decoded), &w->utf8);
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
    struct window w;
    bool found = false, ok = true;
    window_open(&w, part, needle);
    for (uint64_t at = 0; ok && !found && at <= part->body_bytes; at += SEARCH_PIECE) {
        uint64_t left = part->body_bytes - at, n = left < SEARCH_PIECE ? left : SEARCH_PIECE;
        buf_clear(&w.raw);
        if (n)
            ok = message_read(m->s->account, m->entry->email, part->body_offset + at, (size_t)n, &w.raw, &m->err) == ST_OK;
        found = ok && window_look(&w, n < SEARCH_PIECE);
    }
    window_close(&w);
    return found;
}

static bool nested_header_contains(struct search_message *m, const struct digest_part *part, struct str needle)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(SEARCH_HEADER_MAX);
    size_t n = part->header_bytes < SEARCH_HEADER_MAX ? part->header_bytes : SEARCH_HEADER_MAX;
    return message_read(m->s->account, m->entry->email, part->header_offset, n, &bytes, &m->err) == ST_OK &&
           header_contains(buf_str(&bytes), STR_NONE, true, needle);
}

bool search_body(struct search_message *m, struct str folded)
{
    struct digest_part part;
    uint32_t at = 0;
    if (!search_digest(m))
        return false;
    if (folded.n == 0)
        return true;
    while (digest_part_next(&m->digest, &at, &part)) {
        bool nested = part.message && part.header_offset > 0;
        if (nested && nested_header_contains(m, &part, folded))
            return true;
        bool is_text = part.type.n == 0 || str_eq(part.type, STR("text"));
        if (is_text && part_contains(m, &part, folded))
            return true;
    }
    return false;
}
