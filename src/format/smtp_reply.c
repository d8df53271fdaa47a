/* What an SMTP client reads: replies (RFC 5321 4.2), enhanced codes (RFC 3463), EHLO keywords. */
#include "format/smtp_grammar.h"

static bool enhanced_number(struct rd *r, uint16_t *out)
{
    struct str digits = rd_while(r, ascii_digit);
    uint32_t v;
    if (digits.n == 0 || digits.n > 3 || !str_to_u32(digits, &v))
        return false;
    *out = (uint16_t)v;
    return true;
}

bool smtp_enhanced_take(struct str *text, struct smtp_enhanced *out)
{
    struct rd r = rd_of(*text);
    struct smtp_enhanced code = {0};
    if (!enhanced_number(&r, &code.class) || !rd_accept(&r, '.') || !enhanced_number(&r, &code.subject) || !rd_accept(&r, '.') ||
        !enhanced_number(&r, &code.detail))
        return false;
    if (code.class != 2 && code.class != 4 && code.class != 5)
        return false;
    if (!rd_end(&r) && !rd_accept(&r, ' '))
        return false;
    *text = rd_rest(&r);
    *out = code;
    return true;
}

void smtp_reply_init(struct smtp_reply *r) { *r = (struct smtp_reply){.text = BUF_INIT(SMTP_REPLY_TEXT_MAX)}; }

void smtp_reply_clear(struct smtp_reply *r)
{
    r->code = 0;
    r->enhanced = (struct smtp_enhanced){0};
    r->lines = 0;
    buf_clear(&r->text);
}

void smtp_reply_release(struct smtp_reply *r) { buf_release(&r->text); }

/* Text for logs and reports: control characters become spaces, what does not fit is left out. */
static void add_text(struct smtp_reply *r, struct str text)
{
    if (r->lines > 1 && buf_room(&r->text) > 0)
        buf_add_c(&r->text, '\n');
    text = str_upto(text, buf_room(&r->text));
    for (size_t i = 0; i < text.n; i++)
        buf_add_c(&r->text, (unsigned char)text.p[i] < ' ' || text.p[i] == 127 ? ' ' : text.p[i]);
}

enum smtp_reply_state smtp_reply_line(struct smtp_reply *r, struct str line)
{
    if (line.n < 3 || line.n > SMTP_REPLY_LINE_MAX || r->lines >= SMTP_REPLY_LINES_MAX)
        return SMTP_REPLY_BAD;
    if (!ascii_digit(line.p[0]) || !ascii_digit(line.p[1]) || !ascii_digit(line.p[2]))
        return SMTP_REPLY_BAD;
    int code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    char mark = line.n > 3 ? line.p[3] : ' ';
    if (code < 200 || code > 599 || (mark != ' ' && mark != '-') || (r->lines && code != r->code)) /* RFC 5321 4.2.1 */
        return SMTP_REPLY_BAD;
    r->code = code;
    r->lines++;
    struct str text = str_from(line, 4);
    struct smtp_enhanced enhanced;
    struct str behind = text;
    if (smtp_enhanced_take(&behind, &enhanced) && enhanced.class == code / 100) {
        r->enhanced = enhanced;
        text = behind;
    }
    add_text(r, text);
    return mark == '-' ? SMTP_REPLY_MORE : SMTP_REPLY_DONE;
}

/* ---- EHLO ---- */

static const struct {
    const char *keyword;
    enum smtp_extension extension;
} extensions[] = {
    {"PIPELINING", SMTP_EXT_PIPELINING},
    {"SIZE", SMTP_EXT_SIZE},
    {"8BITMIME", SMTP_EXT_8BITMIME},
    {"SMTPUTF8", SMTP_EXT_SMTPUTF8},
    {"STARTTLS", SMTP_EXT_STARTTLS},
    {"AUTH", SMTP_EXT_AUTH},
    {"DSN", SMTP_EXT_DSN},
    {"CHUNKING", SMTP_EXT_CHUNKING},
    {"BINARYMIME", SMTP_EXT_BINARYMIME},
    {"ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCEDSTATUSCODES},
    {"REQUIRETLS", SMTP_EXT_REQUIRETLS},
    {"DELIVERBY", SMTP_EXT_DELIVERBY},
    {"MT-PRIORITY", SMTP_EXT_MT_PRIORITY},
    {"LIMITS", SMTP_EXT_LIMITS},
    {"FUTURERELEASE", SMTP_EXT_FUTURERELEASE},
};

/* Mechanisms as " PLAIN LOGIN "; those that do not fit are left out. */
static void add_mechanisms(struct smtp_ehlo *out, struct str words)
{
    size_t n = strlen(out->auth);
    struct str word;
    while (str_split(&words, ' ', &word)) {
        if (word.n == 0 || word.n > 20 || n + word.n + 3 > sizeof out->auth)
            continue;
        if (n == 0)
            out->auth[n++] = ' ';
        for (size_t i = 0; i < word.n; i++)
            out->auth[n++] = ascii_upper(word.p[i]);
        out->auth[n++] = ' ';
        out->auth[n] = '\0';
    }
}

static void read_limits(struct smtp_ehlo *out, struct str words)
{
    struct str word;
    uint32_t v;
    while (str_split(&words, ' ', &word)) {
        size_t eq = str_find_char(word, '=');
        if (eq == STR_NPOS || word.n - eq > 7 || !str_to_u32(str_from(word, eq + 1), &v))
            continue;
        if (str_eq_nocase(str_upto(word, eq), STR("RCPTMAX")))
            out->limit_rcpt = v;
        else if (str_eq_nocase(str_upto(word, eq), STR("MAILMAX")))
            out->limit_mail = v;
    }
}

static void ehlo_line(struct smtp_ehlo *out, struct str line)
{
    struct str keyword, rest = line;
    if (!str_split(&rest, ' ', &keyword))
        return;
    if (str_starts_nocase(keyword, STR("AUTH="))) { /* the form before RFC 2554, still sent by some */
        rest = str_from(line, 5);
        keyword = str_upto(keyword, 4);
    }
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        if (!str_eq_nocase(keyword, str_of(extensions[i].keyword)))
            continue;
        out->extensions |= extensions[i].extension;
        if (extensions[i].extension == SMTP_EXT_SIZE && !str_to_u64(str_trim(rest), &out->size_max))
            out->size_max = 0;
        if (extensions[i].extension == SMTP_EXT_AUTH)
            add_mechanisms(out, rest);
        if (extensions[i].extension == SMTP_EXT_LIMITS)
            read_limits(out, rest);
    }
}

void smtp_ehlo_parse(struct str text, struct smtp_ehlo *out)
{
    struct str line;
    *out = (struct smtp_ehlo){0};
    if (!str_split(&text, '\n', &line)) /* the greeting */
        return;
    while (str_split(&text, '\n', &line))
        ehlo_line(out, line);
}

bool smtp_ehlo_has_auth(const struct smtp_ehlo *ehlo, struct str mechanism)
{
    char padded[24];
    if (mechanism.n == 0 || mechanism.n > 20)
        return false;
    padded[0] = ' ';
    memcpy(padded + 1, mechanism.p, mechanism.n);
    padded[mechanism.n + 1] = ' ';
    return str_find_nocase(str_of(ehlo->auth), (struct str){padded, mechanism.n + 2}) != STR_NPOS;
}
