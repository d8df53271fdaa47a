#include "format/trace.h"

#include "format/header.h"

struct str trace_with(const struct trace_protocol *p)
{
    /* RFC 3848, RFC 6531 4.3; index: utf8, tls, auth */
    static const char *const smtp[8] = {"ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA", "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"};
    static const char *const lmtp[8] = {"LMTP", "LMTPA", "LMTPS", "LMTPSA", "UTF8LMTP", "UTF8LMTPA", "UTF8LMTPS", "UTF8LMTPSA"};
    unsigned row = (p->utf8 ? 4u : 0) | (p->tls ? 2u : 0) | (p->auth ? 1u : 0);
    if (p->lmtp)
        return str_of(lmtp[row]);
    return p->ehlo ? str_of(smtp[row]) : STR("SMTP");
}

/* Text from outside inside a structured field: what could end a comment or the line becomes '?'. */
static void add_safe(struct str s, struct buf *out)
{
    s = str_upto(s, 255);
    bool utf8 = str_is_utf8(s);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool bad = c <= ' ' || c == 127 || strchr("()<>\\\";", c) || (c >= 128 && !utf8);
        buf_add_c(out, bad ? '?' : s.p[i]);
    }
}

static void add_literal(struct str ip, struct buf *out)
{
    buf_add_z(out, str_find_char(ip, ':') == STR_NPOS ? "[" : "[IPv6:"); /* RFC 5321 4.1.3 */
    add_safe(ip, out);
    buf_add_c(out, ']');
}

void trace_received_print(const struct trace_received *t, struct buf *out)
{
    buf_add_z(out, "Received: from ");
    if (t->helo.n)
        add_safe(t->helo, out);
    else
        buf_add_z(out, "unknown");
    if (t->client_ip.n) {
        buf_add_z(out, " (");
        if (t->client_name.n) {
            add_safe(t->client_name, out);
            buf_add_c(out, ' ');
        }
        add_literal(t->client_ip, out);
        buf_add_c(out, ')');
    }
    buf_add_z(out, "\r\n\tby ");
    add_safe(t->by, out);
    buf_add_z(out, " with ");
    buf_add(out, trace_with(&t->with));
    if (t->id.n) {
        buf_add_z(out, "\r\n\tid ");
        add_safe(t->id, out);
    }
    if (t->for_address.n && t->for_address.n <= ADDRESS_PATH_MAX * 4 && !memchr(t->for_address.p, '\n', t->for_address.n)) {
        buf_add_z(out, "\r\n\tfor <");
        buf_add(out, t->for_address);
        buf_add_c(out, '>');
    }
    if (t->tls_cipher.n) { /* RFC 8314 4.3; the version as a comment, as is customary */
        buf_add_z(out, "\r\n\ttls ");
        add_safe(t->tls_cipher, out);
        if (t->tls_version.n) {
            buf_add_z(out, " (");
            add_safe(t->tls_version, out);
            buf_add_c(out, ')');
        }
    }
    buf_add_z(out, ";\r\n\t");
    date_print(&t->when, out);
    buf_add_z(out, "\r\n");
}

void trace_return_path_print(const struct address *from, struct buf *out)
{
    buf_add_z(out, "Return-Path: ");
    address_print_path(from, out);
    buf_add_z(out, "\r\n");
}

void trace_return_path_print_text(struct str from, struct buf *out)
{
    buf_add_z(out, "Return-Path: <");
    for (size_t i = 0; i < from.n; i++)
        if (from.p[i] != '\r' && from.p[i] != '\n')
            buf_add_c(out, from.p[i]);
    buf_add_z(out, ">\r\n");
}

size_t trace_received_count(struct str message, size_t max) { return header_count(message, STR("Received"), max); }
