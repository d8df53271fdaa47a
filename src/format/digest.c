/* Reading the record. Every number in it is checked where it is used. */
#include "format/digest.h"

#include "base/bits.h"
#include "base/rd.h"
#include "format/digest_internal.h"

static void take_sections(struct rd *r, struct digest *d)
{
    struct str *const to[DIGEST_SECTIONS] = {
        [DIGEST_S_ENVELOPE] = &d->envelope,
        [DIGEST_S_BODY] = &d->body,
        [DIGEST_S_BODYSTRUCTURE] = &d->bodystructure,
        [DIGEST_S_SUBJECT_BASE] = &d->subject_base,
        [DIGEST_S_FROM_KEY] = &d->from_key,
        [DIGEST_S_TO_KEY] = &d->to_key,
        [DIGEST_S_CC_KEY] = &d->cc_key,
        [DIGEST_S_FROM_DISPLAY] = &d->from_display,
        [DIGEST_S_TO_DISPLAY] = &d->to_display,
        [DIGEST_S_MESSAGE_ID] = &d->message_id,
        [DIGEST_S_PREVIEW] = &d->preview,
        [DIGEST_S_HEADER] = &d->header,
        [DIGEST_S_IDS] = &d->ids_,
        [DIGEST_S_PARTS] = &d->parts_,
        [DIGEST_S_FIELDS] = &d->fields_,
    };
    uint32_t length[DIGEST_SECTIONS];
    for (size_t i = 0; i < DIGEST_SECTIONS; i++)
        length[i] = rd_le32(r);
    for (size_t i = 0; i < DIGEST_SECTIONS; i++)
        *to[i] = rd_bytes(r, length[i]);
}

enum st digest_open(struct str record, struct digest *out, struct err *e)
{
    struct rd r = rd_of(record);
    const int64_t year_9999 = 253402300800;
    *out = (struct digest){0};
    ENSURE(rd_le32(&r) == DIGEST_MAGIC, e, ST_CORRUPT, "Unknown digest version");
    out->flags = rd_le32(&r);
    out->size = rd_le64(&r);
    out->header_bytes = rd_le32(&r);
    out->sent_zone_min = (int16_t)rd_le16(&r);
    rd_le16(&r);
    out->sent_s = (int64_t)rd_le64(&r);
    out->id_count = rd_le32(&r);
    out->part_count = rd_le32(&r);
    out->field_count = rd_le32(&r);
    rd_le32(&r);
    take_sections(&r, out);
    bool whole = out->flags & DIGEST_HEADER_WHOLE;
    ENSURE(rd_ok(&r) && rd_end(&r) && out->size <= UINT32_MAX && out->header_bytes <= out->size, e, ST_CORRUPT, "Damaged digest");
    ENSURE(!whole || out->header.n == out->header_bytes, e, ST_CORRUPT, "Damaged digest");
    ENSURE(out->sent_s > -year_9999 && out->sent_s < year_9999 && out->sent_zone_min > -1440 && out->sent_zone_min < 1440, e,
           ST_CORRUPT, "Damaged digest");
    return ST_OK;
}

/* ---- parts ---- */

static uint32_t take_u32(struct rd *r)
{
    uint64_t v = rd_varint(r);
    if (v > UINT32_MAX)
        rd_fail(r);
    return (uint32_t)v;
}

static void take_path(struct rd *r, struct digest_part *part)
{
    part->path_count = take_u32(r);
    if (part->path_count >= DIGEST_PATH_MAX) /* one place stays free, see as_body() */
        rd_fail(r);
    for (uint32_t i = 0; i < part->path_count && rd_ok(r); i++)
        part->path[i] = take_u32(r);
}

/* Takes one part off; only what is inside the message of that size is given out. */
static bool take_part(struct rd *r, uint64_t size, struct digest_part *part)
{
    uint8_t first = rd_u8(r);
    part->kind = first & DIGEST_P_KIND;
    part->message = first & DIGEST_P_MESSAGE;
    part->attachment = first & DIGEST_P_ATTACHMENT;
    take_path(r, part);
    part->header_offset = take_u32(r);
    part->header_bytes = take_u32(r);
    part->body_bytes = take_u32(r);
    part->lines = take_u32(r);
    uint32_t encoding = take_u32(r);
    part->type = rd_varstr(r);
    part->subtype = rd_varstr(r);
    part->charset = rd_varstr(r);
    part->filename = rd_varstr(r);
    part->content_id = rd_varstr(r);
    uint64_t body = (uint64_t)part->header_offset + part->header_bytes;
    if (!rd_ok(r) || part->kind > MIME_MESSAGE || encoding > TRANSFER_UNKNOWN || body + part->body_bytes > size)
        return false;
    part->body_offset = (uint32_t)body;
    part->encoding = (enum transfer_encoding)encoding;
    return true;
}

/* A message that is no multipart is part 1 of itself (RFC 9051 6.4.5). */
static void as_body(struct digest_part *part)
{
    if (part->message && part->kind != MIME_MULTIPART)
        part->path[part->path_count++] = 1;
}

bool digest_part_next(const struct digest *d, uint32_t *at, struct digest_part *part)
{
    struct rd r = rd_of(d->parts_);
    if (*at >= d->parts_.n)
        return false;
    r.p += *at;
    if (!take_part(&r, d->size, part))
        return false;
    *at = (uint32_t)rd_offset(&r);
    as_body(part);
    return true;
}

static bool path_equal(const struct digest_part *part, const uint32_t *path, size_t n)
{
    return part->path_count == n && (n == 0 || memcmp(part->path, path, n * sizeof *path) == 0);
}

bool digest_part_find(const struct digest *d, const uint32_t *path, size_t n, struct digest_part *part)
{
    uint32_t at = 0;
    if (n == 0)
        return digest_message_find(d, path, 0, part);
    while (digest_part_next(d, &at, part)) {
        bool multipart_message = part->message && part->kind == MIME_MULTIPART; /* has the numbers of the part around it */
        if (!multipart_message && path_equal(part, path, n))
            return true;
    }
    return false;
}

bool digest_message_find(const struct digest *d, const uint32_t *path, size_t n, struct digest_part *part)
{
    struct rd r = rd_of(d->parts_);
    while (!rd_end(&r) && take_part(&r, d->size, part)) {
        if (!part->message || !path_equal(part, path, n))
            continue;
        as_body(part);
        return true;
    }
    return false;
}

/* ---- header fields ---- */

static bool take_field(const struct digest *d, struct rd *r, uint32_t offset, struct digest_field *field)
{
    uint32_t bytes = take_u32(r), name = take_u32(r);
    if (!rd_ok(r) || offset > d->header_bytes || bytes > d->header_bytes - offset || name > bytes || bytes == 0)
        return false;
    field->offset = offset;
    field->bytes = bytes;
    field->name = d->flags & DIGEST_HEADER_WHOLE ? str_sub(d->header, offset, name) : rd_bytes(r, name);
    return rd_ok(r);
}

void digest_fields_first(struct digest_fields *it) { *it = (struct digest_fields){0, 0}; }

bool digest_fields_next(const struct digest *d, struct digest_fields *it, struct digest_field *field)
{
    struct rd r = rd_of(d->fields_);
    if (it->at >= d->fields_.n)
        return false;
    r.p += it->at;
    if (!take_field(d, &r, it->offset, field))
        return false;
    it->at = (uint32_t)rd_offset(&r);
    it->offset += field->bytes;
    return true;
}

bool digest_fields_find(const struct digest *d, struct str name, struct digest_fields *it, struct digest_field *field)
{
    while (digest_fields_next(d, it, field))
        if (str_eq_nocase(field->name, name))
            return true;
    return false;
}

/* ---- references ---- */

bool digest_reference_next(const struct digest *d, uint32_t *at, struct str *id)
{
    struct rd r = rd_of(d->ids_);
    if (*at >= d->ids_.n)
        return false;
    r.p += *at;
    *id = rd_varstr(&r);
    *at = (uint32_t)rd_offset(&r);
    return rd_ok(&r);
}
