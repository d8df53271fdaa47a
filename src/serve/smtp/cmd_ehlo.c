/* HELO, EHLO (RFC 5321 4.1.1.1) and LHLO (RFC 2033 4.1). */
#include <stdarg.h>
#include <stdio.h>

#include "serve/smtp/table.h"

void smtp_keyword(struct smtp_session *s, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    smtp_say_line(s, SMTP_SAY_HELLO, true, n > 0 ? str_of(text) : STR_NONE);
}

/* The name as it will be shown, in ASCII: nobody asked for UTF-8 yet (RFC 6531 3.7.4.1). */
static void keep_name(struct smtp_session *s, struct str name)
{
    DEFER(buf_release) struct buf domain = BUF_INIT(SMTP_HELO_MAX);
    if (!str_is_ascii(name) && address_domain_canonical(name, ADDRESS_UTF8, &domain, NULL) == ST_OK && buf_ok(&domain))
        name = buf_str(&domain);
    for (size_t i = 0; i < name.n; i++)
        s->helo[i] = (unsigned char)name.p[i] < 0x80 ? name.p[i] : '?';
    s->helo_size = (uint16_t)name.n;
}

/* Takes the name; false if it was answered. A name that is neither a domain nor an address literal is taken too (5321 4.1.4: mail
 * must not be refused for that); policy may ask for it later. */
static bool take_name(struct smtp_session *s, struct str arg)
{
    struct smtp_helo helo;
    struct err e = {0};
    if (smtp_helo_parse(arg, &helo, &e) != ST_OK || helo.name.n == 0 || helo.name.n > SMTP_HELO_MAX) {
        smtp_sayf(s, SMTP_SAY_BAD_PARAMETER, "%s", e.text[0] ? e.text : "Bad name");
        return false;
    }
    keep_name(s, helo.name);
    smtp_session_reset(s); /* RFC 5321 4.1.4: EHLO in the middle of a transaction ends it */
    return true;
}

enum smtp_next smtp_cmd_helo(struct smtp_session *s, struct str arg)
{
    if (take_name(s, arg)) {
        s->extended = false;
        smtp_say_line(s, SMTP_SAY_HELLO, false, smtp_hostname(s));
    }
    return SMTP_NEXT_COMMAND;
}

enum smtp_next smtp_cmd_ehlo(struct smtp_session *s, struct str arg)
{
    if (!take_name(s, arg))
        return SMTP_NEXT_COMMAND;
    s->extended = true;
    size_t last = s->out->n;
    struct str name = smtp_helo_name(s);
    smtp_keyword(s, "%s greets %.*s", s->services->hostname, (int)(name.n > 100 ? 100 : name.n), name.p);
    const struct smtp_command *c;
    for (size_t i = 0; (c = smtp_table_get(i)); i++) {
        if (!c->keywords || !(c->profiles & (1u << s->profile)))
            continue;
        c->keywords(s);
    }
    /* the last of the lines has no '-' */
    struct str written = str_from(buf_str(s->out), last);
    size_t at = written.n > 2 ? str_rfind_char(str_upto(written, written.n - 2), '\n') : STR_NPOS;
    if (buf_ok(s->out) && written.n > 4)
        s->out->p[last + (at == STR_NPOS ? 0 : at + 1) + 3] = ' ';
    return SMTP_NEXT_COMMAND;
}
