/* Making the record. */
#include <stdlib.h>

#include "format/address.h"
#include "format/charset.h"
#include "format/date.h"
#include "format/digest_internal.h"
#include "format/imap_render.h"

enum {
    SCRATCH_MAX = 64 << 20, /* the tree of a hostile message; a usual one takes a few KB */
    ENVELOPE_MAX = 256 << 10,
    BODY_MAX = 160 << 10,
    BODYSTRUCTURE_MAX = 256 << 10,
    TABLE_MAX = 96 << 10, /* of ids, parts, fields each */
    KEY_MAX = 255,        /* sort keys, names */
    ID_MAX = 998,
    SORT_LIST_MAX = 16, /* addresses looked at for a sort key */
};

struct builder {
    struct str message;
    struct str header; /* top level */
    struct arena arena;
    struct mime_tree tree;
    struct buf section[DIGEST_SECTIONS];
    unsigned flags;
    uint32_t id_count, part_count, field_count;
    struct date sent;
};

/* ---- structure ---- */

/* What the limits of the tree do not bound, the buffers do: when a text does not fit, the structure is rendered without children.
 */
static bool render_structure(struct builder *b)
{
    struct buf *body = &b->section[DIGEST_S_BODY], *structure = &b->section[DIGEST_S_BODYSTRUCTURE];
    imap_render_body(&b->arena, b->tree.root, false, body);
    imap_render_body(&b->arena, b->tree.root, true, structure);
    return buf_ok(body) && buf_ok(structure);
}

static bool render_envelope(struct builder *b)
{
    struct buf *out = &b->section[DIGEST_S_ENVELOPE];
    imap_render_envelope(&b->arena, b->tree.root->envelope, out);
    return buf_ok(out);
}

/* An envelope whose fields are cut to a size that always fits. */
static void render_short_envelope(struct builder *b)
{
    enum { FIELD_MAX = 2000, FIELDS = 10 };
    struct mime_envelope cut = *b->tree.root->envelope;
    struct str *const fields[FIELDS] = {&cut.date, &cut.subject, &cut.from, &cut.sender,      &cut.reply_to,
                                        &cut.to,   &cut.cc,      &cut.bcc,  &cut.in_reply_to, &cut.message_id};
    for (size_t i = 0; i < FIELDS; i++)
        *fields[i] = str_upto(*fields[i], FIELD_MAX);
    buf_clear(&b->section[DIGEST_S_ENVELOPE]);
    imap_render_envelope(&b->arena, &cut, &b->section[DIGEST_S_ENVELOPE]);
    b->flags |= DIGEST_LIMITED;
}

static void add_lower(struct str s, struct buf *out)
{
    s = str_upto(s, KEY_MAX);
    buf_add_varint(out, s.n);
    char *to = buf_reserve(out, s.n);
    if (!to)
        return;
    for (size_t i = 0; i < s.n; i++)
        to[i] = ascii_lower(s.p[i]);
    buf_grew(out, s.n);
}

static void add_varstr(struct str s, struct buf *out)
{
    buf_add_varint(out, s.n);
    buf_add(out, s);
}

static struct str without_brackets(struct str id)
{
    struct str inner;
    return header_msg_id_next(&id, &inner) ? str_upto(inner, KEY_MAX) : STR_NONE;
}

struct path {
    uint32_t number[DIGEST_PATH_MAX];
    uint32_t count;
};

static void add_part(struct builder *b, const struct mime_part *part, const struct path *path, bool message)
{
    struct buf *out = &b->section[DIGEST_S_PARTS];
    bool attachment = digest_is_attachment(part) && !(message && part->kind == MIME_LEAF && mime_is(part, STR("text"), STR_NONE));
    size_t before = out->n;
    buf_add_c(out, (char)((unsigned)part->kind | (message ? DIGEST_P_MESSAGE : 0u) | (attachment ? DIGEST_P_ATTACHMENT : 0u)));
    buf_add_varint(out, path->count);
    for (uint32_t i = 0; i < path->count; i++)
        buf_add_varint(out, path->number[i]);
    buf_add_varint(out, part->header_offset);
    buf_add_varint(out, part->header_length);
    buf_add_varint(out, part->body_length); /* it begins where the header ends */
    buf_add_varint(out, part->lines);
    buf_add_varint(out, part->encoding);
    add_lower(part->type, out);
    add_lower(part->subtype, out);
    add_lower(header_param_raw(part->params, STR("charset")), out);
    add_varstr(charset_cut(mime_filename(&b->arena, part), KEY_MAX), out);
    add_varstr(without_brackets(part->id), out);
    if (!buf_ok(out)) { /* whole parts only */
        out->failed = false;
        buf_cut(out, before);
        b->flags |= DIGEST_LIMITED;
        return;
    }
    b->part_count++;
    b->flags |= attachment ? DIGEST_ATTACHMENT : 0u;
}

/* Depth is that of the tree; *path is the enclosing part's numbers and comes back as it was. */
static void add_parts(struct builder *b, const struct mime_part *part, struct path *path, bool message)
{
    add_part(b, part, path, message);
    if (path->count + 2 >= DIGEST_PATH_MAX)
        return;
    if (part->kind == MIME_MULTIPART) {
        uint32_t number = 0;
        path->count++;
        for (const struct mime_part *child = part->first_child; child; child = child->next) {
            path->number[path->count - 1] = ++number;
            add_parts(b, child, path, false);
        }
        path->count--;
    } else if (part->kind == MIME_MESSAGE && part->first_child) {
        if (message) /* a message/rfc822 that is the whole message: part 1 of itself */
            path->number[path->count++] = 1;
        add_parts(b, part->first_child, path, true);
        path->count -= message;
    }
}

/* ---- header ---- */

static void add_fields(struct builder *b)
{
    struct buf *out = &b->section[DIGEST_S_FIELDS];
    struct header_iter it;
    struct header_field field;
    bool whole = b->flags & DIGEST_HEADER_WHOLE;
    header_first(&it, b->header);
    while (header_next(&it, &field)) {
        size_t before = out->n;
        struct str name = str_upto(field.name, KEY_MAX);
        buf_add_varint(out, field.raw.n);
        buf_add_varint(out, name.n);
        if (!whole)
            buf_add(out, name);
        if (!buf_ok(out)) {
            out->failed = false;
            buf_cut(out, before);
            b->flags |= DIGEST_FIELDS_CUT;
            return;
        }
        b->field_count++;
    }
}

static bool id_is_new(const struct buf *ids, struct str id)
{
    struct rd r = rd_of(buf_str(ids));
    while (!rd_end(&r))
        if (str_eq(rd_varstr(&r), id))
            return false;
    return true;
}

static void add_ids(struct builder *b, struct str field_name, size_t max)
{
    struct buf *out = &b->section[DIGEST_S_IDS];
    struct header_field field;
    struct str id;
    if (!header_find(b->header, field_name, &field))
        return;
    struct str rest = field.value;
    size_t total = 0;
    while (header_msg_id_next(&rest, &id))
        total++;
    rest = field.value;
    for (size_t i = 0; header_msg_id_next(&rest, &id); i++) { /* the thread's root and the nearest ancestors matter */
        bool middle = total > max && i > 0 && i < total - max + 1;
        if (!middle && id.n <= ID_MAX && id_is_new(out, id) && out->n + id.n + 2 <= out->max) {
            add_varstr(id, out);
            b->id_count++;
        }
    }
}

static void fold_key(struct str utf8, struct buf *out) { charset_fold(charset_cut(utf8, KEY_MAX), out); }

/* RFC 5256 3 (FROM, TO, CC) and RFC 5957 (DISPLAY) of the first address. */
static void add_address_keys(struct builder *b, struct str value, enum digest_section key, int display)
{
    DEFER(buf_release) struct buf text = BUF_INIT(4096);
    struct address_list list;
    address_list_parse(&b->arena, str_upto(value, 4096), SORT_LIST_MAX, &list);
    const struct address_entry *first = address_list_mailbox(&list);
    if (!first)
        return;
    fold_key(first->local, &b->section[key]);
    if (display < 0)
        return;
    header_decode(first->name, &text);
    if (text.n == 0)
        address_entry_print(first, &text);
    fold_key(buf_str(&text), &b->section[display]);
}

static void add_keys(struct builder *b)
{
    const struct mime_envelope *envelope = b->tree.root->envelope;
    DEFER(buf_release) struct buf subject = BUF_INIT(32 << 10);
    struct str rest = envelope->message_id, id;
    b->flags |= digest_base_subject(envelope->subject, &subject) ? DIGEST_REPLY : 0u;
    fold_key(buf_str(&subject), &b->section[DIGEST_S_SUBJECT_BASE]);
    add_address_keys(b, envelope->from, DIGEST_S_FROM_KEY, DIGEST_S_FROM_DISPLAY);
    add_address_keys(b, envelope->to, DIGEST_S_TO_KEY, DIGEST_S_TO_DISPLAY);
    add_address_keys(b, envelope->cc, DIGEST_S_CC_KEY, -1);
    if (header_msg_id_next(&rest, &id))
        buf_add(&b->section[DIGEST_S_MESSAGE_ID], str_upto(id, ID_MAX));
    if (envelope->date.p && date_parse(envelope->date, &b->sent))
        b->flags |= DIGEST_HAS_DATE;
    add_ids(b, STR("References"), DIGEST_REFERENCES_MAX);
    add_ids(b, STR("In-Reply-To"), 10);
}

/* ---- the record ---- */

static void builder_init(struct builder *b, struct str message)
{
    static const size_t max[DIGEST_SECTIONS] = {
        [DIGEST_S_ENVELOPE] = ENVELOPE_MAX,
        [DIGEST_S_BODY] = BODY_MAX,
        [DIGEST_S_BODYSTRUCTURE] = BODYSTRUCTURE_MAX,
        [DIGEST_S_SUBJECT_BASE] = KEY_MAX * 4,
        [DIGEST_S_FROM_KEY] = KEY_MAX * 4,
        [DIGEST_S_TO_KEY] = KEY_MAX * 4,
        [DIGEST_S_CC_KEY] = KEY_MAX * 4,
        [DIGEST_S_FROM_DISPLAY] = KEY_MAX * 4,
        [DIGEST_S_TO_DISPLAY] = KEY_MAX * 4,
        [DIGEST_S_MESSAGE_ID] = ID_MAX,
        [DIGEST_S_PREVIEW] = DIGEST_PREVIEW_MAX,
        [DIGEST_S_HEADER] = DIGEST_HEADER_MAX,
        [DIGEST_S_IDS] = TABLE_MAX,
        [DIGEST_S_PARTS] = TABLE_MAX,
        [DIGEST_S_FIELDS] = TABLE_MAX,
    };
    *b = (struct builder){.message = message, .arena = ARENA_INIT(SCRATCH_MAX)};
    for (size_t i = 0; i < DIGEST_SECTIONS; i++)
        buf_init(&b->section[i], max[i]);
    b->header = str_upto(message, header_length(message));
    b->flags |= b->header.n <= DIGEST_HEADER_MAX ? DIGEST_HEADER_WHOLE : 0u;
    b->flags |= str_is_ascii(b->header) ? 0u : DIGEST_8BIT;
}

static void builder_release(struct builder *b)
{
    for (size_t i = 0; i < DIGEST_SECTIONS; i++)
        buf_release(&b->section[i]);
    arena_release(&b->arena);
}

static bool parse_and_render(struct builder *b)
{
    struct mime_limits limits = MIME_LIMITS_DEFAULT;
    if (mime_parse(&b->arena, b->message, &limits, &b->tree) && render_structure(b))
        return true;
    arena_release(&b->arena); /* too large: one opaque body */
    buf_clear(&b->section[DIGEST_S_BODY]);
    buf_clear(&b->section[DIGEST_S_BODYSTRUCTURE]);
    b->flags |= DIGEST_LIMITED;
    limits = (struct mime_limits){.depth = 0, .parts = 1, .header_bytes = 64 << 10, .header_fields = 200, .params = 4};
    return mime_parse(&b->arena, b->message, &limits, &b->tree) && render_structure(b);
}

static void write_record(const struct builder *b, struct buf *out)
{
    buf_add_le32(out, DIGEST_MAGIC);
    buf_add_le32(out, b->flags);
    buf_add_le64(out, b->message.n);
    buf_add_le32(out, (uint32_t)b->header.n);
    buf_add_le16(out, (uint16_t)b->sent.zone_min);
    buf_add_le16(out, 0);
    buf_add_le64(out, (uint64_t)b->sent.epoch_s);
    buf_add_le32(out, b->id_count);
    buf_add_le32(out, b->part_count);
    buf_add_le32(out, b->field_count);
    buf_add_le32(out, 0);
    for (size_t i = 0; i < DIGEST_SECTIONS; i++)
        buf_add_le32(out, (uint32_t)b->section[i].n);
    for (size_t i = 0; i < DIGEST_SECTIONS; i++)
        buf_add(out, buf_str(&b->section[i]));
}

static enum st build(struct builder *b, struct buf *out, struct err *e)
{
    struct path path = {.count = 0};
    ENSURE(parse_and_render(b), e, ST_LIMIT, "Message structure too large");
    b->flags |= b->tree.limited ? DIGEST_LIMITED : 0u;
    if (!render_envelope(b))
        render_short_envelope(b);
    add_parts(b, b->tree.root, &path, true);
    add_fields(b);
    add_keys(b);
    digest_preview(b->message, &b->tree, &b->section[DIGEST_S_PREVIEW]);
    if (b->flags & DIGEST_HEADER_WHOLE)
        buf_add(&b->section[DIGEST_S_HEADER], b->header);
    for (size_t i = 0; i < DIGEST_SECTIONS; i++)
        ENSURE(buf_ok(&b->section[i]), e, ST_LIMIT, "Message header too large");
    write_record(b, out);
    ENSURE(buf_ok(out), e, ST_LIMIT, "Message header too large");
    return ST_OK;
}

enum st digest_build(struct str message, struct buf *out, struct err *e)
{
    ENSURE(message.n <= UINT32_MAX, e, ST_LIMIT, "Message too large");
    struct builder *b = malloc(sizeof *b);
    ENSURE(b, e, ST_TEMP, "Out of memory");
    builder_init(b, message);
    enum st st = build(b, out, e);
    builder_release(b);
    free(b);
    return st;
}
