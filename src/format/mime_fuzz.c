/* MIME trees of any bytes: parts lie inside their parents, and what IMAP is told is well-formed. */
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"
#include "format/imap_render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(struct arena *arena, struct str m, const struct mime_part *part, size_t level)
{
    size_t end = part->body_offset + part->body_length, count = 1, at = part->body_offset;
    check(level <= 66 && end <= m.n && part->header_offset + part->header_length == part->body_offset &&
          part->lines <= part->body_length);
    if (part->kind == MIME_LEAF) {
        DEFER(buf_release) struct buf text = BUF_INIT(2000);
        mime_text(m, part, &text);
        check(str_is_utf8(buf_str(&text)) && !part->first_child);
    }
    mime_filename(arena, part);
    for (const struct mime_part *child = part->first_child; child; child = child->next) {
        check(child->parent == part && child->header_offset >= at && child->body_offset + child->body_length <= end);
        at = child->body_offset + child->body_length;
        count += walk(arena, m, child, level + 1);
    }
    return count;
}

/* Parentheses, quotes and literals of an IMAP answer come out even. */
static void check_imap(struct str s)
{
    size_t depth = 0;
    struct rd r = rd_of(s);
    while (!rd_end(&r)) {
        int c = rd_take(&r);
        if (c == '(')
            depth++;
        else if (c == ')')
            check(depth-- > 0);
        else if (c == '{') {
            uint64_t n = rd_decimal(&r);
            check(rd_accept_str(&r, STR("}\r\n")));
            struct str literal = rd_bytes(&r, (size_t)n);
            check(rd_ok(&r) && !(n && memchr(literal.p, 0, literal.n)));
        } else if (c == '"') {
            while ((c = rd_take(&r)) != '"') {
                if (c == '\\')
                    c = rd_take(&r);
                check(c >= ' ' || c == '\t');
                check(c < 127);
            }
        } else {
            check(c == ' ' || ascii_alpha((char)c) || ascii_digit((char)c));
        }
    }
    check(depth == 0 && rd_ok(&r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT(32 << 20);
    struct str m = str_make(data, size);
    struct mime_tree tree;
    struct mime_limits limits = {.depth = 8, .parts = 40, .header_bytes = 5000, .header_fields = 50, .params = 8};
    DEFER(buf_release) struct buf out = BUF_INIT(16 << 20);
    check(mime_parse(&arena, m, &limits, &tree));
    check(walk(&arena, m, tree.root, 0) == tree.parts && tree.parts <= limits.parts);
    imap_render_body(&arena, tree.root, true, &out);
    if (buf_ok(&out))
        check_imap(buf_str(&out));
    buf_clear(&out);
    imap_render_envelope(&arena, tree.root->envelope, &out);
    if (buf_ok(&out))
        check_imap(buf_str(&out));
    arena_release(&arena);
    return 0;
}
