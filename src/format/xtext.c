#include "format/xtext.h"

#include "format/utf8.h"

static bool is_xchar(char c) { return c >= '!' && c <= '~' && c != '+' && c != '='; } /* RFC 3461 4 */

void xtext_encode(struct str bytes, struct buf *out)
{
    for (size_t i = 0; i < bytes.n; i++) {
        if (is_xchar(bytes.p[i]))
            buf_add_c(out, bytes.p[i]);
        else
            buf_printf(out, "+%02X", (unsigned char)bytes.p[i]);
    }
}

static bool is_upper_hex(char c) { return ascii_digit(c) || (c >= 'A' && c <= 'F'); }

/* One character of the text: how many bytes, or 0. */
static size_t xtext_char(struct str s, char *c)
{
    if (is_xchar(s.p[0])) {
        *c = s.p[0];
        return 1;
    }
    if (s.p[0] != '+' || s.n < 3 || ascii_hex_value(s.p[1]) < 0 || ascii_hex_value(s.p[2]) < 0)
        return 0;
    *c = (char)(ascii_hex_value(s.p[1]) * 16 + ascii_hex_value(s.p[2]));
    return 3;
}

bool xtext_decode(struct str text, struct buf *out)
{
    while (text.n) {
        char c;
        size_t n = xtext_char(text, &c);
        if (n == 0)
            return false;
        buf_add_c(out, c);
        text = str_from(text, n);
    }
    return buf_ok(out);
}

bool xtext_valid(struct str text)
{
    while (text.n) {
        char c;
        size_t n = xtext_char(text, &c);
        if (n == 0 || (n == 3 && !(is_upper_hex(text.p[1]) && is_upper_hex(text.p[2]))))
            return false;
        text = str_from(text, n);
    }
    return true;
}

/* "\x{HEX}" at the start of s (RFC 6533 3): how many bytes, or 0. */
static size_t embedded_char(struct str s, uint32_t *c)
{
    if (!str_starts(s, STR("\\x{")))
        return 0;
    *c = 0;
    size_t i = 3;
    for (; i < s.n && i < 9 && ascii_hex_value(s.p[i]) >= 0; i++)
        *c = *c << 4 | (uint32_t)ascii_hex_value(s.p[i]);
    bool scalar = *c > 0 && *c < 0x110000 && (*c < 0xd800 || *c > 0xdfff);
    return i > 4 && i < s.n && s.p[i] == '}' && scalar ? i + 1 : 0;
}

/* utf-8-addr-xtext and utf-8-addr-unitext in one: UTF-8 passes, \x{...} is decoded, +XX too (older senders). */
static bool utf8_address_decode(struct str s, struct buf *out)
{
    while (s.n) {
        uint32_t c = 0;
        char one;
        size_t n = embedded_char(s, &c);
        if (n) {
            char t[4];
            buf_add(out, (struct str){t, utf8_encode(c, t)});
        } else if ((unsigned char)s.p[0] >= 0x80) {
            buf_add_c(out, s.p[0]);
            n = 1;
        } else if (s.p[0] != '\\' && (n = xtext_char(s, &one)) != 0) {
            buf_add_c(out, one);
        } else {
            return false;
        }
        s = str_from(s, n);
    }
    return buf_ok(out);
}

bool xtext_orcpt_decode(struct str orcpt, struct str *type, struct buf *address)
{
    size_t semicolon = str_find_char(orcpt, ';');
    if (semicolon == STR_NPOS || semicolon == 0 || semicolon + 1 >= orcpt.n)
        return false;
    *type = str_upto(orcpt, semicolon);
    for (size_t i = 0; i < type->n; i++)
        if (!ascii_alpha(type->p[i]) && !ascii_digit(type->p[i]) && type->p[i] != '-')
            return false;
    struct str text = str_from(orcpt, semicolon + 1);
    size_t from = address->n;
    bool ok = str_eq_nocase(*type, STR("utf-8")) ? utf8_address_decode(text, address) : xtext_decode(text, address);
    struct str got = {address->p ? address->p + from : "", address->n - from};
    for (size_t i = 0; i < got.n; i++) /* no address holds control characters, and reports must not get them */
        ok &= (unsigned char)got.p[i] >= ' ' && got.p[i] != 127;
    return ok && str_is_utf8(got);
}

void xtext_orcpt_encode(struct str address, struct buf *out)
{
    if (str_is_ascii(address)) {
        buf_add_z(out, "rfc822;");
        xtext_encode(address, out);
        return;
    }
    buf_add_z(out, "utf-8;");
    while (address.n) {
        uint32_t c;
        size_t broken;
        bool cut;
        size_t n = utf8_decode(address, &c, &broken, &cut);
        if (n == 0)
            c = 0xfffd;
        if (c < 0x80 && is_xchar((char)c) && c != '\\')
            buf_add_c(out, (char)c);
        else
            buf_printf(out, "\\x{%02X}", (unsigned)c); /* QCHAR; also for '+', '=', '\' and space (RFC 6533 3) */
        address = str_from(address, n ? n : broken);
    }
}
