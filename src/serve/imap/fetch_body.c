/* BODY[...], BINARY[...], BINARY.SIZE[...] (RFC 9051 6.4.5, 7.5.2; RFC 3516). */
#include "format/header.h"
#include "serve/imap/fetch.h"

/* Bytes of the message that a section means. */
struct extent {
    bool exists;
    uint64_t offset, bytes;
};

static struct extent extent_of(const struct digest *d, const struct imap_section *section)
{
    struct digest_part part;
    const uint32_t *path = section->part;
    size_t n = section->part_count;
    switch (section->text) {
    case IMAP_SECTION_ALL:
        if (n == 0)
            return (struct extent){true, 0, d->size};
        if (!digest_part_find(d, path, n, &part))
            return (struct extent){false, 0, 0};
        return (struct extent){true, part.body_offset, part.body_bytes};
    case IMAP_SECTION_MIME:
        if (n == 0 || !digest_part_find(d, path, n, &part))
            return (struct extent){false, 0, 0};
        return (struct extent){true, part.header_offset, part.header_bytes};
    case IMAP_SECTION_HEADER:
    case IMAP_SECTION_HEADER_FIELDS:
    case IMAP_SECTION_HEADER_FIELDS_NOT:
        if (!digest_message_find(d, path, n, &part))
            return (struct extent){false, 0, 0};
        return (struct extent){true, part.header_offset, part.header_bytes};
    case IMAP_SECTION_TEXT:
        if (!digest_message_find(d, path, n, &part))
            return (struct extent){false, 0, 0};
        return (struct extent){true, part.body_offset, part.body_bytes};
    }
    return (struct extent){false, 0, 0};
}

static void clip(struct extent *x, const struct imap_fetch_item *item)
{
    if (!item->partial)
        return;
    uint64_t skip = item->offset < x->bytes ? item->offset : x->bytes;
    x->offset += skip;
    x->bytes -= skip;
    if (x->bytes > item->length)
        x->bytes = item->length;
}

static void put_label(struct imap_session *s, const struct imap_fetch_item *item)
{
    imap_put(s, item->label);
    imap_put(s, STR(" "));
}

static void put_literal_head(struct imap_session *s, bool literal8, uint64_t bytes)
{
    imap_put(s, literal8 ? STR("~{") : STR("{"));
    buf_add_u64(s->out, bytes);
    imap_put(s, STR("}\r\n"));
}

/* ---- header fields ---- */

static bool is_listed(const struct imap_section *section, struct str name)
{
    for (size_t i = 0; i < section->field_count; i++)
        if (str_eq_nocase(section->fields[i], name))
            return true;
    return false;
}

/* The header text of the section: from the digest if it has it whole, else read (at most FETCH_HEADER_MAX bytes of it). */
static bool header_text(struct imap_session *s, struct fetch *f, const struct imap_section *section, const struct extent *x,
                        struct buf *into, struct str *out)
{
    if (section->part_count == 0 && (f->digest.flags & DIGEST_HEADER_WHOLE)) {
        *out = f->digest.header;
        return true;
    }
    size_t n = x->bytes < FETCH_HEADER_MAX ? (size_t)x->bytes : FETCH_HEADER_MAX;
    if (message_read(s->account, f->page[f->page_at].email, x->offset, n, into, &f->err) != ST_OK)
        return false;
    *out = buf_str(into);
    return true;
}

static enum fetch_step header_fields(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item,
                                     const struct extent *x)
{
    DEFER(buf_release) struct buf text = BUF_INIT(FETCH_HEADER_MAX);
    struct str header;
    struct header_iter it;
    struct header_field field;
    bool not = item->section.text == IMAP_SECTION_HEADER_FIELDS_NOT;
    if (!header_text(s, f, &item->section, x, &text, &header))
        return FETCH_FAILED;
    f->scratch.max = FETCH_HEADER_MAX + 2;
    buf_clear(&f->scratch);
    header_first(&it, header);
    while (header_next(&it, &field))
        if (field.name.n && is_listed(&item->section, field.name) != not )
            buf_add(&f->scratch, field.raw);
    buf_add(&f->scratch, STR("\r\n")); /* RFC 9051 6.4.5: the delimiting blank line is always included */
    if (!buf_ok(&f->scratch)) {
        ERR_PUBLIC(&f->err, ST_TEMP, "out of memory");
        return FETCH_FAILED;
    }
    struct extent part = {true, 0, f->scratch.n};
    clip(&part, item);
    put_label(s, item);
    put_literal_head(s, false, part.bytes);
    f->stream = FETCH_STREAM_MEMORY;
    f->memory = str_sub(buf_str(&f->scratch), (size_t)part.offset, (size_t)part.bytes);
    return FETCH_NEXT;
}

/* ---- BINARY ---- */

struct decoded_facts {
    uint64_t bytes;
    bool has_nul;
};

/* Decodes the part once to learn how long the result is. Bounded memory; the text is read in pieces. */
static bool measure(struct imap_session *s, struct fetch *f, const struct digest_part *part, struct decoded_facts *out)
{
    DEFER(buf_release) struct buf in = BUF_INIT(FETCH_DECODE_BYTES);
    DEFER(buf_release) struct buf result = BUF_INIT(FETCH_DECODE_BYTES * 2);
    struct transfer_decoder d;
    uint64_t email = f->page[f->page_at].email;
    *out = (struct decoded_facts){0, false};
    transfer_decoder_init(&d, part->encoding);
    for (uint64_t at = 0; at <= part->body_bytes; at += FETCH_DECODE_BYTES) {
        uint64_t n = part->body_bytes - at < FETCH_DECODE_BYTES ? part->body_bytes - at : FETCH_DECODE_BYTES;
        buf_clear(&in);
        buf_clear(&result);
        if (n && message_read(s->account, email, part->body_offset + at, (size_t)n, &in, &f->err) != ST_OK)
            return false;
        transfer_decode(&d, buf_str(&in), &result);
        if (n < FETCH_DECODE_BYTES)
            transfer_decode_end(&d, &result);
        out->bytes += result.n;
        out->has_nul = out->has_nul || (result.n && memchr(result.p, '\0', result.n));
    }
    return true;
}

static enum fetch_step binary(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item)
{
    struct digest_part part;
    struct decoded_facts facts;
    bool size_only = item->kind == IMAP_FETCH_BINARY_SIZE;
    if (!digest_part_find(&f->digest, item->section.part, item->section.part_count, &part)) {
        put_label(s, item);
        imap_put(s, size_only ? STR("0") : STR("NIL"));
        return FETCH_NEXT;
    }
    if (item->section.part_count == 0) { /* the whole message: nothing to decode */
        part.encoding = TRANSFER_BINARY;
        part.body_offset = 0;
        part.body_bytes = (uint32_t)f->digest.size;
    }
    if (part.encoding == TRANSFER_UNKNOWN) { /* RFC 3516 4.3 */
        ERR_PUBLIC(&f->err, ST_PERM, "The content-transfer-encoding of the part is not known");
        return FETCH_FAILED;
    }
    if (!measure(s, f, &part, &facts))
        return FETCH_FAILED;
    put_label(s, item);
    if (size_only) {
        buf_add_u64(s->out, facts.bytes);
        return FETCH_NEXT;
    }
    struct extent x = {true, 0, facts.bytes};
    clip(&x, item);
    put_literal_head(s, facts.has_nul, x.bytes);
    f->stream = FETCH_STREAM_DECODED;
    transfer_decoder_init(&f->decoder, part.encoding);
    f->offset = part.body_offset;
    f->left = part.body_bytes;
    f->skip = x.offset;
    f->take = x.bytes;
    f->scratch.max = FETCH_DECODE_BYTES * 2;
    buf_clear(&f->scratch);
    f->memory = STR_NONE;
    return FETCH_NEXT;
}

enum fetch_step fetch_section(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item)
{
    if (item->kind != IMAP_FETCH_SECTION)
        return binary(s, f, item);
    struct extent x = extent_of(&f->digest, &item->section);
    if (!x.exists) {
        put_label(s, item);
        imap_put(s, STR("NIL"));
        return FETCH_NEXT;
    }
    if (item->section.text == IMAP_SECTION_HEADER_FIELDS || item->section.text == IMAP_SECTION_HEADER_FIELDS_NOT)
        return header_fields(s, f, item, &x);
    clip(&x, item);
    put_label(s, item);
    put_literal_head(s, false, x.bytes);
    bool in_digest =
        item->section.part_count == 0 && item->section.text == IMAP_SECTION_HEADER && (f->digest.flags & DIGEST_HEADER_WHOLE);
    if (in_digest) {
        f->stream = FETCH_STREAM_MEMORY;
        f->memory = str_sub(f->digest.header, (size_t)x.offset, (size_t)x.bytes);
        return FETCH_NEXT;
    }
    f->stream = FETCH_STREAM_MESSAGE;
    f->offset = x.offset;
    f->left = x.bytes;
    return FETCH_NEXT;
}

/* ---- streaming ---- */

static enum fetch_step stream_memory(struct imap_session *s, struct fetch *f)
{
    struct str piece = str_upto(f->memory, imap_room_bytes(s));
    imap_put(s, piece);
    f->memory = str_from(f->memory, piece.n);
    return f->memory.n ? FETCH_ROOM : FETCH_NEXT;
}

static enum fetch_step stream_message(struct imap_session *s, struct fetch *f)
{
    size_t room = imap_room_bytes(s), n = f->left < room ? (size_t)f->left : room, before = s->out->n;
    if (n == 0)
        return f->left ? FETCH_ROOM : FETCH_NEXT;
    if (message_read(s->account, f->page[f->page_at].email, f->offset, n, s->out, &f->err) != ST_OK || s->out->n - before != n)
        return FETCH_BROKEN;
    f->offset += n;
    f->left -= n;
    return f->left ? FETCH_ROOM : FETCH_NEXT;
}

/* The next decoded piece into scratch, as f->memory. */
static bool decode_more(struct imap_session *s, struct fetch *f)
{
    size_t n = f->left < FETCH_DECODE_BYTES ? (size_t)f->left : FETCH_DECODE_BYTES;
    DEFER(buf_release) struct buf in = BUF_INIT(FETCH_DECODE_BYTES);
    if (n && message_read(s->account, f->page[f->page_at].email, f->offset, n, &in, &f->err) != ST_OK)
        return false;
    f->offset += n;
    f->left -= n;
    buf_clear(&f->scratch);
    transfer_decode(&f->decoder, buf_str(&in), &f->scratch);
    if (f->left == 0)
        transfer_decode_end(&f->decoder, &f->scratch);
    struct str piece = buf_str(&f->scratch);
    size_t skip = f->skip < piece.n ? (size_t)f->skip : piece.n;
    f->skip -= skip;
    piece = str_from(piece, skip);
    f->memory = f->take < piece.n ? str_upto(piece, (size_t)f->take) : piece;
    f->take -= f->memory.n;
    return buf_ok(&f->scratch);
}

static enum fetch_step stream_decoded(struct imap_session *s, struct fetch *f)
{
    for (;;) {
        if (stream_memory(s, f) == FETCH_ROOM)
            return FETCH_ROOM;
        if (f->take == 0)
            return FETCH_NEXT;
        if (f->left == 0 || !decode_more(s, f))
            return FETCH_BROKEN;
    }
}

enum fetch_step fetch_stream(struct imap_session *s, struct fetch *f)
{
    enum fetch_step step = FETCH_NEXT;
    switch (f->stream) {
    case FETCH_STREAM_NONE:
        break;
    case FETCH_STREAM_MESSAGE:
        step = stream_message(s, f);
        break;
    case FETCH_STREAM_MEMORY:
        step = stream_memory(s, f);
        break;
    case FETCH_STREAM_DECODED:
        step = stream_decoded(s, f);
        break;
    }
    if (step == FETCH_NEXT)
        f->stream = FETCH_STREAM_NONE;
    return step;
}
