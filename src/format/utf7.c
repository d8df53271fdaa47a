#include "format/utf7.h"

#include "format/utf8.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int value_of(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static bool is_direct(uint32_t c) { return c >= 0x20 && c <= 0x7e; } /* RFC 3501 5.1.3 */

static void add_utf8(uint32_t c, struct buf *out)
{
    char t[4];
    buf_add(out, (struct str){t, utf8_encode(c, t)});
}

/* One UTF-16 unit of a shifted run. *high is a lead surrogate that waits, or 0. */
static bool unit_decode(uint32_t unit, uint32_t *high, struct buf *out)
{
    if (*high) {
        if (unit < 0xdc00 || unit > 0xdfff)
            return false;
        add_utf8(0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00), out);
        *high = 0;
        return true;
    }
    if (unit >= 0xd800 && unit <= 0xdbff) {
        *high = unit;
        return true;
    }
    if ((unit >= 0xdc00 && unit <= 0xdfff) || is_direct(unit) || unit == 0)
        return false;
    add_utf8(unit, out);
    return true;
}

/* Between '&' and '-'. */
static bool run_decode(struct str run, struct buf *out)
{
    uint32_t bits = 0, high = 0;
    unsigned count = 0;
    for (size_t i = 0; i < run.n; i++) {
        int v = value_of(run.p[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        count += 6;
        if (count < 16)
            continue;
        count -= 16;
        if (!unit_decode(bits >> count & 0xffff, &high, out))
            return false;
        bits &= (1u << count) - 1;
    }
    return high == 0 && count < 6 && bits == 0;
}

bool utf7_decode(struct str name, struct buf *out)
{
    size_t i = 0;
    bool behind_run = false;
    while (i < name.n) {
        if (!is_direct((uint8_t)name.p[i]))
            return false;
        if (name.p[i] != '&') {
            buf_add_c(out, name.p[i++]);
            behind_run = false;
            continue;
        }
        size_t end = str_find_char(str_from(name, i), '-');
        if (end == STR_NPOS)
            return false;
        struct str run = str_sub(name, i + 1, end - 1);
        if (run.n == 0) {
            buf_add_c(out, '&');
            behind_run = false;
        } else if (behind_run || !run_decode(run, out)) { /* two runs in a row: superfluous shift */
            return false;
        } else {
            behind_run = true;
        }
        i += end + 1;
    }
    return buf_ok(out);
}

struct run {
    uint32_t bits;
    unsigned count;
    bool open;
};

static void run_add(struct run *r, uint32_t unit, struct buf *out)
{
    r->bits = r->bits << 16 | unit;
    r->count += 16;
    while (r->count >= 6) {
        r->count -= 6;
        buf_add_c(out, alphabet[r->bits >> r->count & 63]);
    }
    r->bits &= (1u << r->count) - 1;
}

static void run_close(struct run *r, struct buf *out)
{
    if (!r->open)
        return;
    if (r->count)
        buf_add_c(out, alphabet[r->bits << (6 - r->count) & 63]);
    buf_add_c(out, '-');
    *r = (struct run){0};
}

bool utf7_encode(struct str utf8, struct buf *out)
{
    struct run run = {0};
    while (utf8.n) {
        uint32_t c;
        size_t broken;
        bool cut;
        size_t n = utf8_decode(utf8, &c, &broken, &cut);
        if (n == 0 || c == 0)
            return false;
        utf8 = str_from(utf8, n);
        if (is_direct(c)) {
            run_close(&run, out);
            buf_add_c(out, (char)c);
            if (c == '&')
                buf_add_c(out, '-');
            continue;
        }
        if (!run.open)
            buf_add_c(out, '&');
        run.open = true;
        if (c >= 0x10000) {
            run_add(&run, 0xd800 + ((c - 0x10000) >> 10), out);
            run_add(&run, 0xdc00 + ((c - 0x10000) & 0x3ff), out);
        } else {
            run_add(&run, c, out);
        }
    }
    run_close(&run, out);
    return buf_ok(out);
}
