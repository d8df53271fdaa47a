#include "serve/pop3/reply.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_MAX = 480 }; /* RFC 2449 3: 512 bytes with status, code and CRLF */

__attribute__((format(printf, 4, 0))) static void line_put(struct pop3_session *s, const char *status, const char *code,
                                                           const char *fmt, va_list ap)
{
    char text[TEXT_MAX];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    buf_add_z(s->out, status);
    if (*status && (n > 0 || *code))
        buf_add_c(s->out, ' ');
    buf_add_z(s->out, code);
    if (n > 0)
        buf_add_z(s->out, text);
    buf_add(s->out, STR("\r\n"));
}

void pop3_ok(struct pop3_session *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    line_put(s, "+OK", "", fmt, ap);
    va_end(ap);
}

void pop3_line(struct pop3_session *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    line_put(s, "", "", fmt, ap);
    va_end(ap);
}

void pop3_end(struct pop3_session *s) { buf_add(s->out, STR(".\r\n")); }

static const char *code_text(enum pop3_code code)
{
    switch (code) {
    case POP3_CODE_NONE:
        return "";
    case POP3_CODE_AUTH:
        return "[AUTH] ";
    case POP3_CODE_SYS_TEMP:
        return "[SYS/TEMP] ";
    case POP3_CODE_SYS_PERM:
        return "[SYS/PERM] ";
    case POP3_CODE_IN_USE:
        return "[IN-USE] ";
    case POP3_CODE_UTF8:
        return "[UTF8] ";
    }
    return "";
}

void pop3_err(struct pop3_session *s, enum pop3_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    line_put(s, "-ERR", code_text(code), fmt, ap);
    va_end(ap);
    s->errors++;
}

void pop3_err_of(struct pop3_session *s, const struct err *e)
{
    enum pop3_code code = POP3_CODE_SYS_TEMP; /* in doubt */
    switch (e->class) {
    case ST_DENIED:
        code = POP3_CODE_AUTH;
        break;
    case ST_PERM:
    case ST_NOTFOUND:
    case ST_EXISTS:
        code = POP3_CODE_NONE;
        break;
    case ST_CORRUPT:
        code = POP3_CODE_SYS_PERM;
        break;
    case ST_OK:
    case ST_TEMP:
    case ST_CONFLICT:
    case ST_LIMIT:
    case ST_BUG:
        break;
    }
    pop3_err(s, code, "%s", e->text[0] ? e->text : "cannot do that now");
}
