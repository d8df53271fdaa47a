/* BODY[...], BINARY[...], BINARY.SIZE[...] (RFC 9051 6.4.5, 7.5.2; RFC 3516). */
#include "format/header.h"
#include "serve/imap/fetch.h"

/* Bytes of the message that a section means. */
struct extent {
    bool exists;
    uint64_t offset, bytes;
};

static struct extent extent_of(const struct fetch *f, const struct imap_section *section)
{
    const struct digest *d = &f->digest;
    struct digest_part part;
    const uint32_t *path = section->part;
    size_t n = section->part_count;
    switch (section->text) {
    case IMAP_SECTION_ALL:
        if (n == 0)
            return (struct extent){true, 0, f->page[f->page_at].size};
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
    buf_add_c(s->out, ' ');
}

static void put_literal_head(struct imap_session *s, bool literal8, uint64_t bytes)
{
    imap_put(s, literal8 ? STR("~{") : STR("{"));
    buf_add_u64(s->out, bytes);
    imap_put(s, STR("}\r\n"));
}

/* ---- header fields ---- */

static bool is_wanted(const struct imap_section *section, struct str name)
{
    bool listed = false;
    for (size_t i = 0; !listed && i < section->field_count; i++) {
        struct str f = section->fields[i];
        listed = f.n == name.n && ascii_lower(f.p[0]) == ascii_lower(name.p[0]) && str_eq_nocase(f, name);
    }
    return listed != (section->text == IMAP_SECTION_HEADER_FIELDS_NOT);
}

/* Is there an empty line at its end? It belongs to every header that is fetched, unless the message has none (RFC 9051 6.4.5.1). */
static bool has_blank_line(struct str header)
{
    return str_ends(header, STR("\n\r\n")) || str_ends(header, STR("\n\n")) || str_eq(header, STR("\r\n")) ||
           str_eq(header, STR("\n"));
}

static void select_by_digest(struct fetch *f, const struct imap_section *section)
{
    struct digest_fields it;
    struct digest_field field;
    digest_fields_first(&it);
    while (digest_fields_next(&f->digest, &it, &field))
        if (field.name.n && is_wanted(section, field.name))
            buf_add(&f->scratch, str_sub(f->digest.header, field.offset, field.bytes));
    if (has_blank_line(f->digest.header))
        buf_add(&f->scratch, STR("\r\n"));
}

/* Headers of attached messages, and what is too large for the digest: read, at most FETCH_HEADER_MAX bytes. */
static bool select_by_reading(struct imap_session *s, struct fetch *f, const struct imap_section *section, const struct extent *x)
{
    DEFER(buf_release) struct buf text = BUF_INIT(FETCH_HEADER_MAX);
    struct header_iter it;
    struct header_field field;
    size_t n = x->bytes < FETCH_HEADER_MAX ? (size_t)x->bytes : FETCH_HEADER_MAX;
    if (fetch_read(s, f, x->offset, n, &text) != ST_OK)
        return false;
    header_first(&it, buf_str(&text));
    while (header_next(&it, &field))
        if (field.name.n && is_wanted(section, field.name))
            buf_add(&f->scratch, field.raw);
    if (n < x->bytes || has_blank_line(buf_str(&text)))
        buf_add(&f->scratch, STR("\r\n"));
    return true;
}

static enum fetch_step header_fields(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item,
                                     const struct extent *x)
{
    f->scratch.max = FETCH_HEADER_MAX + 2;
    buf_clear(&f->scratch);
    if (item->section.part_count == 0 && (f->digest.flags & DIGEST_HEADER_WHOLE) && !(f->digest.flags & DIGEST_FIELDS_CUT))
        select_by_digest(f, &item->section);
    else if (!select_by_reading(s, f, &item->section, x))
        return FETCH_FAILED;
    if (!buf_ok(&f->scratch)) {
        (void)!ERR(&f->err, ST_TEMP, "Out of memory", "header fields");
        return FETCH_FAILED;
    }
    struct extent part = {true, 0, f->scratch.n};
    clip(&part, item);
    put_label(s, item);
    put_literal_head(s, false, part.bytes);
    fetch_put_text(s, f, str_sub(buf_str(&f->scratch), (size_t)part.offset, (size_t)part.bytes));
    return FETCH_NEXT;
}

/* ---- BINARY ---- */

static void decoder_init(struct fetch_decoder *d, const struct digest_part *part)
{
    transfer_decoder_init(&d->transfer, part->encoding);
    d->text = part->type.n == 0 || str_eq(part->type, STR("text"));
    d->last = '\0';
}

/* "Servers MUST ensure that textual line-oriented sections are always transmitted using the IMAP CRLF line termination syntax" (RFC
 * 9051 7.5.2): LF alone becomes CRLF. `last` is the byte before `in`. */
static void mend_lines(struct str in, char last, struct buf *out)
{
    size_t from = 0;
    for (size_t at = 0; at < in.n; at++) {
        const char *lf = memchr(in.p + at, '\n', in.n - at);
        if (!lf)
            break;
        at = (size_t)(lf - in.p);
        if ((at > 0 ? in.p[at - 1] : last) == '\r')
            continue;
        buf_add(out, str_sub(in, from, at - from));
        buf_add_c(out, '\r');
        from = at;
    }
    buf_add(out, str_from(in, from));
}

/* Decodes one piece; the result is in f->scratch or f->crlf until the next. p NULL: no memory. */
static struct str decode(struct fetch *f, struct fetch_decoder *d, struct str in, bool end)
{
    f->scratch.max = 2 * in.n + sizeof d->transfer.held + 4;
    buf_clear(&f->scratch);
    transfer_decode(&d->transfer, in, &f->scratch);
    if (end)
        transfer_decode_end(&d->transfer, &f->scratch);
    struct str result = f->scratch.n ? buf_str(&f->scratch) : STR("");
    if (d->text && result.n) {
        f->crlf.max = 2 * result.n;
        buf_clear(&f->crlf);
        mend_lines(result, d->last, &f->crlf);
        result = buf_str(&f->crlf);
        d->last = result.n ? result.p[result.n - 1] : d->last;
    }
    return buf_ok(&f->scratch) && buf_ok(&f->crlf) ? result : STR_NONE;
}

/* Reads the next piece of encoded bytes (f->offset, f->left) and decodes it. */
static bool decode_next(struct imap_session *s, struct fetch *f, size_t piece, struct str *out)
{
    size_t n = f->left < piece ? (size_t)f->left : piece;
    DEFER(buf_release) struct buf in = BUF_INIT(n);
    if (fetch_read(s, f, f->offset, n, &in) != ST_OK)
        return false;
    f->offset += n;
    f->left -= n;
    *out = decode(f, &f->decoder, buf_str(&in), f->left == 0);
    if (!out->p)
        (void)!ERR(&f->err, ST_TEMP, "Out of memory", "decoding a part");
    return out->p != NULL;
}

static void decode_first(struct fetch *f, const struct digest_part *part)
{
    decoder_init(&f->decoder, part);
    f->offset = part->body_offset;
    f->left = part->body_bytes;
}

struct decoded_facts {
    uint64_t bytes;
    bool has_nul;
    struct str all; /* of a small part: the bytes, in f->scratch or f->crlf */
};

/* Decodes the part once to learn how long the result is. Bounded memory. */
static bool measure(struct imap_session *s, struct fetch *f, const struct digest_part *part, struct decoded_facts *out)
{
    bool small = part->body_bytes <= FETCH_DECODE_WHOLE;
    *out = (struct decoded_facts){0};
    decode_first(f, part);
    do {
        struct str piece;
        if (!decode_next(s, f, small ? FETCH_DECODE_WHOLE : FETCH_DECODE_PIECE, &piece))
            return false;
        out->bytes += piece.n;
        out->has_nul = out->has_nul || (piece.n && memchr(piece.p, '\0', piece.n));
        out->all = small ? piece : STR_NONE;
    } while (f->left > 0);
    return true;
}

/* The part that BINARY means; the whole message is not encoded. */
static bool binary_part(struct fetch *f, const struct imap_fetch_item *item, struct digest_part *part)
{
    if (item->section.part_count)
        return digest_part_find(&f->digest, item->section.part, item->section.part_count, part);
    *part = (struct digest_part){.encoding = TRANSFER_BINARY, .type = STR("message"), .body_bytes = f->page[f->page_at].size};
    return true;
}

static enum fetch_step binary(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item)
{
    struct digest_part part;
    struct decoded_facts facts;
    bool size_only = item->kind == IMAP_FETCH_BINARY_SIZE;
    if (!binary_part(f, item, &part)) {
        put_label(s, item);
        imap_put(s, size_only ? STR("0") : STR("NIL"));
        return FETCH_NEXT;
    }
    if (part.encoding == TRANSFER_UNKNOWN) { /* RFC 3516 4.3 */
        (void)!ERR_PUBLIC(&f->err, ST_PERM, "The content-transfer-encoding of the part is not known");
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
    if (facts.all.p) {
        fetch_put_text(s, f, str_sub(facts.all, (size_t)x.offset, (size_t)x.bytes));
        return FETCH_NEXT;
    }
    decode_first(f, &part);
    f->stream = FETCH_STREAM_DECODED;
    f->memory = STR_NONE;
    f->skip = x.offset;
    f->take = x.bytes;
    return FETCH_NEXT;
}

/* ---- BODY ---- */

static enum fetch_step body(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item)
{
    const struct imap_section *section = &item->section;
    struct extent x = extent_of(f, section);
    if (!x.exists) {
        put_label(s, item);
        imap_put(s, STR("NIL"));
        return FETCH_NEXT;
    }
    if (section->text == IMAP_SECTION_HEADER_FIELDS || section->text == IMAP_SECTION_HEADER_FIELDS_NOT)
        return header_fields(s, f, item, &x);
    clip(&x, item);
    if (x.bytes && !fetch_email(s, f))
        return FETCH_FAILED; /* while the item can still be left out */
    put_label(s, item);
    put_literal_head(s, false, x.bytes);
    if (section->part_count == 0 && section->text == IMAP_SECTION_HEADER && (f->digest.flags & DIGEST_HEADER_WHOLE)) {
        fetch_put_text(s, f, str_sub(f->digest.header, (size_t)x.offset, (size_t)x.bytes));
        return FETCH_NEXT;
    }
    f->stream = FETCH_STREAM_MESSAGE;
    f->offset = x.offset;
    f->left = x.bytes;
    return FETCH_NEXT;
}

enum fetch_step fetch_section(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item)
{
    bool whole = item->section.part_count == 0 && item->section.text == IMAP_SECTION_ALL;
    if (!whole && !fetch_need_digest(s, f))
        return FETCH_FAILED;
    return item->kind == IMAP_FETCH_SECTION ? body(s, f, item) : binary(s, f, item);
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
    size_t room = imap_room_bytes(s), n = f->left < room ? (size_t)f->left : room;
    if (n == 0)
        return f->left ? FETCH_ROOM : FETCH_NEXT;
    if (fetch_read(s, f, f->offset, n, s->out) != ST_OK)
        return FETCH_BROKEN;
    f->offset += n;
    f->left -= n;
    return f->left ? FETCH_ROOM : FETCH_NEXT;
}

static enum fetch_step stream_decoded(struct imap_session *s, struct fetch *f)
{
    for (;;) {
        struct str piece;
        if (stream_memory(s, f) == FETCH_ROOM)
            return FETCH_ROOM;
        if (f->take == 0)
            return FETCH_NEXT;
        if (f->left == 0 || !decode_next(s, f, FETCH_DECODE_PIECE, &piece))
            return FETCH_BROKEN;
        size_t skip = f->skip < piece.n ? (size_t)f->skip : piece.n;
        f->skip -= skip;
        piece = str_from(piece, skip);
        f->memory = str_upto(piece, f->take < piece.n ? (size_t)f->take : piece.n);
        f->take -= f->memory.n;
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
