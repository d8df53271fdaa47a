/* Headers: fields cover the header without gaps; texts come out as UTF-8; parameters and encoded-words survive a round trip. */
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "format/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void texts(struct arena *arena, struct str value)
{
    DEFER(buf_release) struct buf text = BUF_INIT(1 << 16);
    DEFER(buf_release) struct buf coded = BUF_INIT(1 << 18);
    DEFER(buf_release) struct buf back = BUF_INIT(1 << 18);
    struct header_content content;
    struct str rest = value, id;
    header_decode(value, &text);
    check(str_is_utf8(buf_str(&text)));
    if (buf_ok(&text) && text.n < 4000) {
        header_encode(buf_str(&text), 10, &coded);
        check(str_is_ascii(buf_str(&coded)));
        header_decode(buf_str(&coded), &back);
        check(str_eq(str_trim(buf_str(&back)), str_trim(buf_str(&text))));
    }
    while (header_msg_id_next(&rest, &id))
        check(id.n > 0);
    if (!header_content_parse(arena, value, 50, &content))
        return;
    for (const struct header_param *p = content.params; p; p = p->next) {
        struct str found = header_param_find(arena, content.params, p->name);
        buf_clear(&coded);
        header_param_print(STR("x"), found, &coded);
    }
    header_param_find(arena, content.params, STR("filename"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT(1 << 22);
    struct str s = str_make(data, size);
    struct header_iter it;
    struct header_field f;
    size_t at = 0, end = header_length(s);
    header_first(&it, s);
    while (header_next(&it, &f)) {
        check(f.offset == at && f.raw.n > 0);
        at += f.raw.n;
        texts(&arena, f.value);
    }
    check(at <= end && end - at <= 2);
    struct rd r = rd_of(s);
    while (header_token_next(&r, HEADER_SPECIALS_5322, NULL).kind != HEADER_END)
        ;
    texts(&arena, s);
    arena_release(&arena);
    return 0;
}
