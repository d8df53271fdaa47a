/* SMTP commands as a server reads them. Replies as a client reads them: smtp_reply.c. */
#include "format/smtp_grammar.h"
#include "format/xtext.h"

void smtp_command_split(struct str line, struct str *verb, struct str *arg)
{
    size_t n = 0;
    while (n < line.n && ascii_alpha(line.p[n]))
        n++;
    *verb = str_upto(line, n);
    *arg = STR("");
    if (n == 0 || (n < line.n && !ascii_space(line.p[n]))) { /* no word: "MAIL:" is not MAIL */
        *verb = STR_NONE;
        return;
    }
    struct str rest = str_from(line, n + 1);
    while (rest.n && ascii_space(rest.p[rest.n - 1])) /* RFC 5321 4.1.1: trailing white space is tolerated */
        rest.n--;
    if (rest.n)
        *arg = rest;
}

/* ---- parameters ---- */

struct value {
    struct str text;
    bool given; /* "KEYWORD=..." */
};

/* "esmtp-keyword["=" esmtp-value]" (RFC 5321 4.1.2). UTF-8 in values is legal only in SMTPUTF8 transactions; the parser of the
 * value decides. False: the end, or malformed (cursor failed). */
static bool param_next(struct rd *r, struct str *keyword, struct value *v)
{
    if (rd_end(r))
        return false;
    if (!rd_accept(r, ' ')) {
        rd_fail(r);
        return false;
    }
    while (rd_accept(r, ' '))
        ;
    if (rd_end(r))
        return false;
    const char *from = r->p;
    while (r->p < r->end && (ascii_alpha(*r->p) || ascii_digit(*r->p) || *r->p == '-'))
        r->p++;
    *keyword = (struct str){from, (size_t)(r->p - from)};
    *v = (struct value){.given = rd_accept(r, '=')};
    from = r->p;
    while (v->given && r->p < r->end && (unsigned char)*r->p > ' ' && *r->p != '=' && *r->p != 127)
        r->p++;
    v->text = (struct str){from, (size_t)(r->p - from)};
    bool keyword_ok = keyword->n > 0 && keyword->p[0] != '-';
    if (!keyword_ok || (v->given && v->text.n == 0) || (!rd_end(r) && rd_peek(r) != ' ')) {
        rd_fail(r);
        return false;
    }
    return true;
}

static const struct {
    const char *keyword;
    enum smtp_param param;
} params[] = {
    {"SIZE", SMTP_PARAM_SIZE},
    {"BODY", SMTP_PARAM_BODY},
    {"SMTPUTF8", SMTP_PARAM_SMTPUTF8},
    {"AUTH", SMTP_PARAM_AUTH},
    {"RET", SMTP_PARAM_RET},
    {"ENVID", SMTP_PARAM_ENVID},
    {"NOTIFY", SMTP_PARAM_NOTIFY},
    {"ORCPT", SMTP_PARAM_ORCPT},
    {"REQUIRETLS", SMTP_PARAM_REQUIRETLS},
    {"MT-PRIORITY", SMTP_PARAM_MT_PRIORITY},
    {"BY", SMTP_PARAM_BY},
    {"HOLDFOR", SMTP_PARAM_HOLDFOR},
    {"HOLDUNTIL", SMTP_PARAM_HOLDUNTIL},
    {"RRVS", SMTP_PARAM_RRVS},
};

/* 0: not known. */
static unsigned param_find(struct str keyword)
{
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        if (str_eq_nocase(keyword, str_of(params[i].keyword)))
            return params[i].param;
    return 0;
}

enum {
    MAIL_PARAMS = SMTP_PARAM_SIZE | SMTP_PARAM_BODY | SMTP_PARAM_SMTPUTF8 | SMTP_PARAM_AUTH | SMTP_PARAM_RET | SMTP_PARAM_ENVID |
                  SMTP_PARAM_REQUIRETLS | SMTP_PARAM_MT_PRIORITY | SMTP_PARAM_BY | SMTP_PARAM_HOLDFOR | SMTP_PARAM_HOLDUNTIL,
    RCPT_PARAMS = SMTP_PARAM_NOTIFY | SMTP_PARAM_ORCPT | SMTP_PARAM_RRVS,
};

/* Each parameter at most once, and only what is offered. */
static enum st param_admit(struct str keyword, unsigned param, unsigned allowed, unsigned *given, enum smtp_fault *fault,
                           struct err *e)
{
    if (!(param & allowed)) {
        *fault = SMTP_FAULT_UNKNOWN;
        return ERR_PUBLIC(e, ST_PERM, "Unsupported parameter %.*s", STR_FMT(str_upto(keyword, 40)));
    }
    if (*given & param) {
        *fault = SMTP_FAULT_PARAMETER;
        return ERR_PUBLIC(e, ST_PERM, "Parameter %.*s given twice", STR_FMT(keyword));
    }
    *given |= param;
    return ST_OK;
}

/* ---- values; false: malformed ---- */

static bool body_value(struct value v, enum smtp_body *out)
{
    if (str_eq_nocase(v.text, STR("7BIT")))
        *out = SMTP_BODY_7BIT;
    else if (str_eq_nocase(v.text, STR("8BITMIME")))
        *out = SMTP_BODY_8BITMIME;
    else if (str_eq_nocase(v.text, STR("BINARYMIME")))
        *out = SMTP_BODY_BINARYMIME;
    else
        return false;
    return true;
}

static bool ret_value(struct value v, enum smtp_ret *out)
{
    *out = str_eq_nocase(v.text, STR("FULL")) ? SMTP_RET_FULL : str_eq_nocase(v.text, STR("HDRS")) ? SMTP_RET_HDRS : SMTP_RET_NONE;
    return *out != SMTP_RET_NONE;
}

/* "up to 20 digits" (RFC 1870 5). What does not fit into 64 bits is too big like anything else, not malformed. */
static bool size_value(struct value v, uint64_t *out)
{
    if (v.text.n > 20)
        return false;
    for (size_t i = 0; i < v.text.n; i++)
        if (!ascii_digit(v.text.p[i]))
            return false;
    if (v.text.n && !str_to_u64(v.text, out))
        *out = UINT64_MAX;
    return v.text.n > 0;
}

/* xtext of printable characters (RFC 3461 4.4): it comes back in the reports. */
static bool envid_value(struct value v, struct str *out)
{
    DEFER(buf_release) struct buf text = BUF_INIT(SMTP_ENVID_MAX);
    *out = v.text;
    if (v.text.n == 0 || v.text.n > SMTP_ENVID_MAX || !xtext_valid(v.text) || !xtext_decode(v.text, &text))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < ' ' || text.p[i] > '~')
            return false;
    return true;
}

/* xtext of a mailbox, or <> (RFC 4954 5). Some clients send the mailbox in brackets, or a login name without a domain. */
static bool auth_value(struct arena *arena, struct value v, struct str *out)
{
    DEFER(buf_release) struct buf text = BUF_INIT(2 * ADDRESS_PATH_MAX);
    struct address parsed;
    *out = STR("");
    if (!v.given || !xtext_decode(v.text, &text))
        return false;
    struct str mailbox = buf_str(&text);
    if (str_starts(mailbox, STR("<")) && str_ends(mailbox, STR(">")))
        mailbox = str_sub(mailbox, 1, mailbox.n - 2);
    if (mailbox.n == 0)
        return true;
    *out = arena_str(arena, mailbox);
    return out->p && address_parse(arena, mailbox, ADDRESS_UTF8 | ADDRESS_BARE, &parsed, NULL) == ST_OK;
}

static bool priority_value(struct value v, int *out) /* RFC 6710 4.1 */
{
    bool negative = v.text.n == 2 && v.text.p[0] == '-';
    struct str digit = str_from(v.text, negative);
    if (digit.n != 1 || !ascii_digit(digit.p[0]) || (negative && digit.p[0] == '0'))
        return false;
    *out = negative ? -(digit.p[0] - '0') : digit.p[0] - '0';
    return true;
}

static bool by_value(struct value v, struct smtp_mail *out) /* RFC 2852 4 */
{
    struct rd r = rd_of(v.text);
    bool negative = rd_accept(&r, '-');
    if (!negative)
        rd_accept(&r, '+');
    struct str digits = rd_while(&r, ascii_digit);
    uint64_t seconds;
    if (digits.n == 0 || digits.n > 9 || !str_to_u64(digits, &seconds) || !rd_accept(&r, ';'))
        return false;
    out->by_s = negative ? -(int64_t)seconds : (int64_t)seconds;
    out->by_mode = ascii_upper((char)rd_take(&r));
    out->by_trace = rd_accept_nocase(&r, STR("T"));
    return rd_ok(&r) && rd_end(&r) && (out->by_mode == 'N' || (out->by_mode == 'R' && out->by_s > 0));
}

static bool mail_param(struct arena *arena, unsigned param, struct value v, struct smtp_mail *out)
{
    switch ((enum smtp_param)param) {
    case SMTP_PARAM_SIZE:
        return size_value(v, &out->size);
    case SMTP_PARAM_BODY:
        return body_value(v, &out->body);
    case SMTP_PARAM_SMTPUTF8:
    case SMTP_PARAM_REQUIRETLS:
        return !v.given;
    case SMTP_PARAM_AUTH:
        return auth_value(arena, v, &out->auth);
    case SMTP_PARAM_RET:
        return ret_value(v, &out->ret);
    case SMTP_PARAM_ENVID:
        return envid_value(v, &out->envid);
    case SMTP_PARAM_MT_PRIORITY:
        return priority_value(v, &out->priority);
    case SMTP_PARAM_BY:
        return by_value(v, out);
    case SMTP_PARAM_HOLDFOR: /* RFC 4865 2: nine digits; not together with HOLDUNTIL (5.1) */
        return v.text.n <= 9 && str_to_u64(v.text, &out->holdfor_s) && !(out->given & SMTP_PARAM_HOLDUNTIL);
    case SMTP_PARAM_HOLDUNTIL:
        out->holduntil = v.text;
        return v.given && !(out->given & SMTP_PARAM_HOLDFOR);
    case SMTP_PARAM_NOTIFY:
    case SMTP_PARAM_ORCPT:
    case SMTP_PARAM_RRVS:
        return false;
    }
    return false;
}

static bool notify_value(struct value v, unsigned *out) /* RFC 3461 4.1 */
{
    static const struct {
        const char *word;
        enum smtp_notify bit;
    } words[] = {{"NEVER", SMTP_NOTIFY_NEVER},
                 {"SUCCESS", SMTP_NOTIFY_SUCCESS},
                 {"FAILURE", SMTP_NOTIFY_FAILURE},
                 {"DELAY", SMTP_NOTIFY_DELAY}};
    struct str rest = v.text, part;
    if (v.text.n == 0 || v.text.p[v.text.n - 1] == ',')
        return false;
    *out = 0;
    while (str_split(&rest, ',', &part)) {
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (str_eq_nocase(part, str_of(words[i].word)))
                bit = words[i].bit;
        if (bit == 0)
            return false;
        *out |= bit;
    }
    return !(*out & SMTP_NOTIFY_NEVER) || *out == SMTP_NOTIFY_NEVER;
}

static bool orcpt_value(struct value v, struct str *out)
{
    DEFER(buf_release) struct buf address = BUF_INIT(SMTP_ORCPT_MAX * 4);
    struct str type;
    *out = v.text;
    if (v.text.n > SMTP_ORCPT_MAX || !xtext_orcpt_decode(v.text, &type, &address))
        return false;
    return str_eq_nocase(type, STR("utf-8")) || xtext_valid(str_from(v.text, type.n + 1));
}

static bool rcpt_param(unsigned param, struct value v, struct smtp_rcpt *out)
{
    if (param == SMTP_PARAM_NOTIFY)
        return notify_value(v, &out->notify);
    if (param == SMTP_PARAM_ORCPT)
        return orcpt_value(v, &out->orcpt);
    out->rrvs = v.text;
    return v.given;
}

/* ---- MAIL, RCPT ---- */

/* "FROM:" and the like; one space behind the colon is common and tolerated. */
static bool take_keyword(struct rd *r, struct str keyword)
{
    if (!rd_accept_nocase(r, keyword))
        return false;
    rd_accept(r, ' ');
    return true;
}

/* A path, and whether it was written in ASCII. A name in UTF-8 is read in any case: whether SMTPUTF8 allows it, stands behind it.
 */
static enum st take_path(struct arena *arena, struct rd *r, unsigned flags, struct address *out, bool *ascii, struct err *e)
{
    const char *from = r->p;
    TRY(address_path_take(arena, r, flags | ADDRESS_UTF8, out, e));
    *ascii = str_is_ascii((struct str){from, (size_t)(r->p - from)});
    return ST_OK;
}

enum st smtp_mail_parse(struct arena *arena, struct str arg, unsigned offered, struct smtp_mail *out, struct err *e)
{
    struct rd r = rd_of(arg);
    struct str keyword;
    struct value v;
    bool ascii = false;
    *out = (struct smtp_mail){.fault = SMTP_FAULT_SYNTAX};
    ENSURE(take_keyword(&r, STR("FROM:")), e, ST_PERM, "Syntax: MAIL FROM:<address> [parameters]");
    out->fault = SMTP_FAULT_ADDRESS;
    TRY(take_path(arena, &r, ADDRESS_NULL, &out->from, &ascii, e));
    for (int count = 0; count <= SMTP_PARAMS_MAX && param_next(&r, &keyword, &v); count++) {
        unsigned param = param_find(keyword);
        TRY(param_admit(keyword, param, offered & MAIL_PARAMS, &out->given, &out->fault, e));
        out->fault = SMTP_FAULT_PARAMETER;
        ENSURE(mail_param(arena, param, v, out), e, ST_PERM, "Bad value of parameter %.*s", STR_FMT(keyword));
    }
    out->fault = SMTP_FAULT_SYNTAX;
    ENSURE(rd_ok(&r) && rd_end(&r), e, ST_PERM, "Malformed parameters");
    out->fault = SMTP_FAULT_NOT_ASCII;
    ENSURE(ascii || (out->given & SMTP_PARAM_SMTPUTF8), e, ST_PERM, "This sender needs SMTPUTF8");
    out->fault = SMTP_FAULT_NONE;
    return ST_OK;
}

enum st smtp_rcpt_parse(struct arena *arena, struct str arg, unsigned offered, bool utf8, struct smtp_rcpt *out, struct err *e)
{
    struct rd r = rd_of(arg);
    struct str keyword;
    struct value v;
    bool ascii = false;
    *out = (struct smtp_rcpt){.fault = SMTP_FAULT_SYNTAX};
    ENSURE(take_keyword(&r, STR("TO:")), e, ST_PERM, "Syntax: RCPT TO:<address> [parameters]");
    out->fault = SMTP_FAULT_ADDRESS;
    TRY(take_path(arena, &r, ADDRESS_BARE, &out->to, &ascii, e));
    /* RFC 5321 4.1.1.3: only Postmaster may come without a domain */
    ENSURE(out->to.domain.n || str_eq_nocase(out->to.local, STR("postmaster")), e, ST_PERM, "Address without a domain");
    for (int count = 0; count <= SMTP_PARAMS_MAX && param_next(&r, &keyword, &v); count++) {
        unsigned param = param_find(keyword);
        TRY(param_admit(keyword, param, offered & RCPT_PARAMS, &out->given, &out->fault, e));
        out->fault = SMTP_FAULT_PARAMETER;
        ENSURE(rcpt_param(param, v, out), e, ST_PERM, "Bad value of parameter %.*s", STR_FMT(keyword));
    }
    out->fault = SMTP_FAULT_SYNTAX;
    ENSURE(rd_ok(&r) && rd_end(&r), e, ST_PERM, "Malformed parameters");
    out->fault = SMTP_FAULT_NOT_ASCII;
    ENSURE(ascii || utf8, e, ST_PERM, "This recipient needs SMTPUTF8");
    out->fault = SMTP_FAULT_NONE;
    return ST_OK;
}

/* ---- the others ---- */

enum st smtp_helo_parse(struct str arg, struct smtp_helo *out, struct err *e)
{
    *out = (struct smtp_helo){.name = arg};
    ENSURE(arg.n > 0, e, ST_PERM, "Domain name required");
    ENSURE(arg.n <= ADDRESS_DOMAIN_MAX, e, ST_PERM, "Domain name too long");
    for (size_t i = 0; i < arg.n; i++)
        ENSURE((unsigned char)arg.p[i] > ' ' && arg.p[i] != 127, e, ST_PERM, "Malformed domain name");
    out->valid = address_domain_valid(arg) || address_literal_valid(arg);
    return ST_OK;
}

enum st smtp_bdat_parse(struct str arg, uint64_t *size, bool *last, struct err *e)
{
    struct str rest = arg, number, word = STR_NONE;
    ENSURE(str_split(&rest, ' ', &number) && number.n <= 20 && str_to_u64(number, size), e, ST_PERM, "Syntax: BDAT size [LAST]");
    word = str_trim(rest);
    *last = str_eq_nocase(word, STR("LAST"));
    ENSURE(word.n == 0 || *last, e, ST_PERM, "Syntax: BDAT size [LAST]");
    return ST_OK;
}

enum st smtp_auth_parse(struct str arg, struct str *mechanism, struct str *response, struct err *e)
{
    struct str rest = arg;
    *response = STR_NONE;
    bool ok = str_split(&rest, ' ', mechanism) && mechanism->n > 0 && mechanism->n <= 20; /* RFC 4422 3.1 */
    for (size_t i = 0; ok && i < mechanism->n; i++) {
        char c = mechanism->p[i];
        ok = ascii_alpha(c) || ascii_digit(c) || c == '-' || c == '_';
    }
    ENSURE(ok, e, ST_PERM, "Syntax: AUTH mechanism [initial-response]");
    rest = str_trim(rest);
    if (rest.n == 0)
        return ST_OK;
    ENSURE(str_find_char(rest, ' ') == STR_NPOS, e, ST_PERM, "Syntax: AUTH mechanism [initial-response]");
    *response = str_eq(rest, STR("=")) ? STR("") : rest;
    return ST_OK;
}
