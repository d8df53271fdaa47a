/* Envelope addresses: RFC 5321 4.1.2 and 4.1.3, RFC 6531 3.3. */
#include "format/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include <idn2.h>

#include "format/charset.h"

static bool is_atext(char c) /* RFC 5322 3.2.3 */
{
    return ascii_alpha(c) || ascii_digit(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_utf8_byte(char c) { return (unsigned char)c >= 0x80; }

/* ---- domains ---- */

bool address_domain_valid(struct str domain)
{
    struct str rest = domain, label;
    if (domain.n == 0 || domain.n > ADDRESS_DOMAIN_MAX)
        return false;
    if (domain.p[domain.n - 1] == '.')
        return false;
    while (str_split(&rest, '.', &label)) {
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (!ascii_alpha(label.p[i]) && !ascii_digit(label.p[i]) && label.p[i] != '-')
                return false;
    }
    return true;
}

/* U-labels to A-labels. */
static enum st domain_from_unicode(struct str domain, struct buf *out, struct err *e)
{
    char from[4 * ADDRESS_DOMAIN_MAX + 1];
    ENSURE(domain.n < sizeof from && str_is_utf8(domain) && !memchr(domain.p, 0, domain.n), e, ST_PERM, "Malformed domain");
    memcpy(from, domain.p, domain.n);
    from[domain.n] = '\0';
    char *ascii = NULL;
    int rc = idn2_to_ascii_8z(from, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (rc != IDN2_OK)
        return ERR(e, rc == IDN2_MALLOC ? ST_TEMP : ST_PERM, "Malformed internationalised domain", "%s", idn2_strerror(rc));
    bool valid = address_domain_valid(str_of(ascii));
    if (valid)
        for (const char *p = ascii; *p; p++)
            buf_add_c(out, ascii_lower(*p));
    idn2_free(ascii);
    ENSURE(valid, e, ST_PERM, "Malformed domain");
    return ST_OK;
}

enum st address_domain_canonical(struct str domain, unsigned flags, struct buf *out, struct err *e)
{
    if (!str_is_ascii(domain)) {
        ENSURE(flags & ADDRESS_UTF8, e, ST_PERM, "Non-ASCII domain without SMTPUTF8");
        return domain_from_unicode(domain, out, e);
    }
    ENSURE(address_domain_valid(domain), e, ST_PERM, "Malformed domain");
    for (size_t i = 0; i < domain.n; i++)
        buf_add_c(out, ascii_lower(domain.p[i]));
    return ST_OK;
}

void address_domain_unicode(struct str domain, struct buf *out)
{
    char from[ADDRESS_DOMAIN_MAX + 1];
    char *unicode = NULL;
    if (domain.n > ADDRESS_DOMAIN_MAX || !address_domain_valid(domain) || str_find_nocase(domain, STR("xn--")) == STR_NPOS) {
        buf_add(out, domain);
        return;
    }
    memcpy(from, domain.p, domain.n);
    from[domain.n] = '\0';
    if (idn2_to_unicode_8z8z(from, &unicode, 0) == IDN2_OK)
        buf_add_z(out, unicode);
    else
        buf_add(out, domain);
    idn2_free(unicode);
}

/* ---- address literals ---- */

static bool ipv4_valid(struct str s) /* Snum 3("." Snum) */
{
    struct str rest = s, part;
    int count = 0;
    uint32_t v;
    while (str_split(&rest, '.', &part)) {
        if (part.n > 3 || !str_to_u32(part, &v) || v > 255)
            return false;
        count++;
    }
    return count == 4 && s.p[s.n - 1] != '.';
}

static bool ipv6_text(struct str s, char out[INET6_ADDRSTRLEN])
{
    char z[INET6_ADDRSTRLEN];
    unsigned char raw[16];
    if (s.n == 0 || s.n >= sizeof z || memchr(s.p, 0, s.n))
        return false;
    memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    return inet_pton(AF_INET6, z, raw) == 1 && inet_ntop(AF_INET6, raw, out, INET6_ADDRSTRLEN);
}

/* tag ":" 1*dcontent */
static bool general_literal_valid(struct str s)
{
    size_t colon = str_find_char(s, ':');
    if (colon == STR_NPOS || colon + 1 >= s.n || !address_domain_valid(str_upto(s, colon)) ||
        str_find_char(str_upto(s, colon), '.') != STR_NPOS)
        return false;
    for (size_t i = colon + 1; i < s.n; i++)
        if (s.p[i] < 33 || s.p[i] > 126 || strchr("[]\\", s.p[i]))
            return false;
    return true;
}

/* s with brackets; canonical form appended to *out if not NULL. */
static bool literal_parse(struct str s, struct buf *out)
{
    char v6[INET6_ADDRSTRLEN];
    if (s.n < 3 || s.n > ADDRESS_DOMAIN_MAX || s.p[0] != '[' || s.p[s.n - 1] != ']')
        return false;
    struct str inside = str_sub(s, 1, s.n - 2);
    if (str_starts_nocase(inside, STR("IPv6:"))) {
        if (!ipv6_text(str_from(inside, 5), v6))
            return false;
        if (out)
            buf_printf(out, "[IPv6:%s]", v6);
        return true;
    }
    if (!ipv4_valid(inside) && !general_literal_valid(inside))
        return false;
    if (out)
        buf_add(out, s);
    return true;
}

bool address_literal_valid(struct str s) { return literal_parse(s, NULL); }

/* ---- parsing ---- */

/* Behind the opening quote, up to and with the closing one. The content without quoting goes to `local`. */
static enum st take_quoted(struct rd *r, unsigned flags, struct buf *local, struct err *e)
{
    for (;;) {
        int c = rd_take(r);
        ENSURE(c >= 0, e, ST_PERM, "Unclosed quoted-string in the address");
        if (c == '"')
            return ST_OK;
        if (c == '\\')
            c = rd_take(r);
        bool utf8 = c >= 0x80 && (flags & ADDRESS_UTF8);
        ENSURE((c >= ' ' && c < 127) || utf8, e, ST_PERM, "Invalid character in the address");
        buf_add_c(local, (char)c);
    }
}

static enum st take_dot_string(struct rd *r, unsigned flags, struct buf *local, struct err *e)
{
    do {
        size_t before = local->n;
        while (r->p < r->end && (is_atext(*r->p) || (is_utf8_byte(*r->p) && (flags & ADDRESS_UTF8))))
            buf_add_c(local, *r->p++);
        ENSURE(local->n > before, e, ST_PERM, "Malformed local-part");
        if (rd_peek(r) != '.')
            return ST_OK;
        buf_add_c(local, '.');
    } while (rd_accept(r, '.'));
    return ST_OK;
}

static enum st take_local(struct rd *r, unsigned flags, struct buf *local, struct err *e)
{
    if (rd_accept(r, '"'))
        TRY(take_quoted(r, flags, local, e));
    else
        TRY(take_dot_string(r, flags, local, e));
    ENSURE(buf_ok(local) && !((flags & ADDRESS_LOCAL_64) && local->n > ADDRESS_LOCAL_MAX), e, ST_PERM, "Local-part too long");
    ENSURE(str_is_utf8(buf_str(local)), e, ST_PERM, "Address is not valid UTF-8");
    return ST_OK;
}

static bool is_domain_char(char c)
{
    return ascii_alpha(c) || ascii_digit(c) || c == '-' || c == '.' || c == '_' || is_utf8_byte(c);
}

static enum st take_domain(struct rd *r, unsigned flags, struct buf *domain, bool *literal, struct err *e)
{
    *literal = rd_peek(r) == '[';
    if (!*literal)
        return address_domain_canonical(rd_while(r, is_domain_char), flags, domain, e);
    size_t close = str_find_char(rd_rest(r), ']');
    ENSURE(close != STR_NPOS && literal_parse(rd_bytes(r, close + 1), domain), e, ST_PERM, "Malformed address literal");
    return ST_OK;
}

/* local ["@" domain] */
static enum st take_mailbox(struct arena *arena, struct rd *r, unsigned flags, struct address *out, struct err *e)
{
    DEFER(buf_release) struct buf local = BUF_INIT(ADDRESS_PATH_MAX);
    DEFER(buf_release) struct buf domain = BUF_INIT(ADDRESS_DOMAIN_MAX);
    *out = (struct address){0};
    TRY(take_local(r, flags, &local, e));
    if (rd_accept(r, '@')) {
        TRY(take_domain(r, flags, &domain, &out->literal, e));
        ENSURE(buf_ok(&domain), e, ST_PERM, "Domain too long");
    } else {
        ENSURE((flags & ADDRESS_BARE) && local.n > 0, e, ST_PERM, "Address without a domain");
    }
    ENSURE(local.n + domain.n + 3 <= ADDRESS_PATH_MAX, e, ST_PERM, "Address too long"); /* RFC 5321 4.5.3.1.3, with "<@>" */
    out->local = arena_str(arena, buf_str(&local));
    out->domain = arena_str(arena, buf_str(&domain));
    ENSURE(out->local.p && out->domain.p, e, ST_LIMIT, "Too many addresses");
    return ST_OK;
}

enum st address_parse(struct arena *arena, struct str s, unsigned flags, struct address *out, struct err *e)
{
    struct rd r = rd_of(s);
    TRY(take_mailbox(arena, &r, flags, out, e));
    ENSURE(rd_end(&r), e, ST_PERM, "Malformed address");
    return ST_OK;
}

/* "@a,@b:" in front of the mailbox is accepted and dropped (RFC 5321 4.1.1.3, appendix C). */
static enum st skip_route(struct rd *r, unsigned flags, struct err *e)
{
    enum { HOSTS_MAX = 30 };
    int hosts = 0;
    if (rd_peek(r) != '@')
        return ST_OK;
    do {
        DEFER(buf_release) struct buf host = BUF_INIT(ADDRESS_DOMAIN_MAX);
        bool literal;
        ENSURE(rd_accept(r, '@') && hosts++ < HOSTS_MAX, e, ST_PERM, "Malformed source route");
        TRY(take_domain(r, flags, &host, &literal, e));
    } while (rd_accept(r, ','));
    ENSURE(rd_accept(r, ':'), e, ST_PERM, "Malformed source route");
    return ST_OK;
}

enum st address_path_take(struct arena *arena, struct rd *r, unsigned flags, struct address *out, struct err *e)
{
    ENSURE(rd_accept(r, '<'), e, ST_PERM, "Address must be in angle brackets");
    if ((flags & ADDRESS_NULL) && rd_accept(r, '>')) {
        *out = (struct address){.local = STR(""), .domain = STR("")};
        return ST_OK;
    }
    TRY(skip_route(r, flags, e));
    TRY(take_mailbox(arena, r, flags, out, e));
    ENSURE(rd_accept(r, '>'), e, ST_PERM, "Malformed address");
    return ST_OK;
}

enum st address_path_parse(struct arena *arena, struct str s, unsigned flags, struct address *out, struct err *e)
{
    struct rd r = rd_of(s);
    TRY(address_path_take(arena, &r, flags, out, e));
    ENSURE(rd_end(&r), e, ST_PERM, "Malformed address");
    return ST_OK;
}

/* ---- printing and comparing ---- */

static bool is_dot_string(struct str s)
{
    bool dot = true;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? dot : !is_atext(s.p[i]) && !is_utf8_byte(s.p[i]))
            return false;
        dot = s.p[i] == '.';
    }
    return !dot;
}

static void print_local(struct str local, struct buf *out)
{
    if (is_dot_string(local)) {
        buf_add(out, local);
        return;
    }
    buf_add_c(out, '"');
    for (size_t i = 0; i < local.n; i++) {
        if (local.p[i] == '"' || local.p[i] == '\\')
            buf_add_c(out, '\\');
        buf_add_c(out, local.p[i]);
    }
    buf_add_c(out, '"');
}

void address_print(const struct address *a, struct buf *out)
{
    if (address_is_null(a))
        return;
    print_local(a->local, out);
    if (a->domain.n == 0)
        return;
    buf_add_c(out, '@');
    buf_add(out, a->domain);
}

void address_print_path(const struct address *a, struct buf *out)
{
    buf_add_c(out, '<');
    address_print(a, out);
    buf_add_c(out, '>');
}

struct str address_text(struct arena *arena, const struct address *a)
{
    DEFER(buf_release) struct buf b = BUF_INIT(4 * ADDRESS_PATH_MAX);
    address_print(a, &b);
    return arena_str(arena, buf_str(&b));
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (!str_eq(a->domain, b->domain))
        return false;
    return str_eq(a->local, b->local) || (str_eq_nocase(a->local, STR("postmaster")) && str_eq_nocase(b->local, STR("postmaster")));
}

bool address_needs_utf8(const struct address *a) { return !str_is_ascii(a->local) || !str_is_ascii(a->domain); }

void address_key(const struct address *a, struct buf *out)
{
    charset_lower(a->local, out);
    buf_add_c(out, '@');
    buf_add(out, a->domain);
}

void address_split_detail(struct str local, char separator, struct str *user, struct str *detail)
{
    size_t at = str_find_char(local, separator);
    bool split = at != STR_NPOS && at > 0;
    *user = split ? str_upto(local, at) : local;
    *detail = split ? str_from(local, at + 1) : STR_NONE;
}
