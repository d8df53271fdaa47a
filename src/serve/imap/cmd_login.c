#include "serve/imap/cmd_auth.h"

/* What a client learns about a failed login (RFC 9051 11.7: not why); temporary failures must look temporary, or clients ask for
 * the password again. */
enum imap_next imap_auth_failed(struct imap_session *s, const struct err *e)
{
    switch (e->class) {
    case ST_TEMP:
    case ST_BUG:
    case ST_CORRUPT:
    case ST_CONFLICT:
    case ST_OK:
        return imap_no(s, "UNAVAILABLE", "%s", e->text[0] ? e->text : "Try again later");
    case ST_LIMIT:
        s->auth_failures++;
        return imap_no(s, "LIMIT", "%s", e->text);
    case ST_PERM:
        return imap_bad(s, "%s", e->text);
    case ST_DENIED:
    case ST_NOTFOUND:
    case ST_EXISTS:
        break;
    }
    s->auth_failures++;
    return imap_no(s, "AUTHENTICATIONFAILED", "%s", e->text[0] ? e->text : "Wrong name or password");
}

enum imap_next imap_auth_done(struct imap_session *s, const struct identity *who)
{
    struct err e = {0};
    if (imap_session_login(s, who, &e) != ST_OK)
        return imap_fail(s, &e);
    DEFER(buf_release) struct buf code = BUF_INIT(4096);
    buf_add_z(&code, "CAPABILITY ");
    imap_table_capabilities(s, &code);
    return imap_ok_code(s, buf_str(&code), "Logged in"); /* RFC 9051 6.2.3 */
}

/* RFC 9051 6.2.3 */
enum imap_next imap_cmd_login(struct imap_session *s, struct imap_command *c)
{
    struct str name, password;
    struct identity who;
    struct err e = {0};
    if (!imap_parse_astring(&c->args, &name) || !imap_parse_space(&c->args) || !imap_parse_astring(&c->args, &password) ||
        !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (!auth_clear_text_allowed(s->base.peer))
        return imap_no(s, "PRIVACYREQUIRED", "Passwords are only taken over TLS");
    enum st st = auth_password(s->services->auth, AUTH_IMAP, s->base.peer, name, password, &who, &e);
    explicit_bzero(s->text.p, s->text.n); /* the password was in it */
    return st == ST_OK ? imap_auth_done(s, &who) : imap_auth_failed(s, &e);
}
