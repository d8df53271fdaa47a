/* Digests: built from any bytes they open and agree with the message; as any bytes they are read within bounds. */
#include <stdint.h>

#include "base/check.h"
#include "format/digest.h"
#include "format/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct digest *d)
{
    struct digest_part part, found;
    struct digest_fields fields;
    struct digest_field field;
    struct str id;
    uint32_t at = 0;
    while (digest_part_next(d, &at, &part)) {
        check((uint64_t)part.body_offset + part.body_bytes <= d->size && part.path_count <= DIGEST_PATH_MAX);
        digest_part_find(d, part.path, part.path_count, &found);
        digest_message_find(d, part.path, part.path_count, &found);
    }
    digest_fields_first(&fields);
    while (digest_fields_next(d, &fields, &field))
        check((uint64_t)field.offset + field.bytes <= d->header_bytes && field.name.n <= field.bytes);
    for (at = 0; digest_reference_next(d, &at, &id);)
        check(id.n <= d->ids_.n);
}

static void as_message(struct str m)
{
    DEFER(buf_release) struct buf record = BUF_INIT(DIGEST_SIZE_MAX);
    struct digest d;
    struct digest_part part;
    struct err e = {0};
    check(digest_build(m, &record, &e) == ST_OK);
    check(digest_open(buf_str(&record), &d, &e) == ST_OK);
    check(d.size == m.n && d.header_bytes == header_length(m) && d.preview.n <= DIGEST_PREVIEW_MAX);
    check(str_is_utf8(d.preview) && str_is_utf8(d.subject_base) && str_is_utf8(d.from_display) && str_is_utf8(d.to_display));
    check(digest_part_find(&d, NULL, 0, &part) && part.header_bytes == d.header_bytes && part.body_offset + part.body_bytes == m.n);
    read_all(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = str_make(data, size);
    struct digest d;
    if (digest_open(s, &d, NULL) == ST_OK)
        read_all(&d);
    as_message(s);
    return 0;
}
