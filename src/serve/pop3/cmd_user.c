/* USER and PASS (RFC 1939 7; UTF-8 names and passwords: RFC 6856 2.2). */
#include "serve/pop3/table.h"

void pop3_cmd_user_capability(struct pop3_session *s)
{
    if (auth_clear_text_allowed(s->base.peer))
        pop3_line(s, "USER");
}

enum pop3_next pop3_cmd_user(struct pop3_session *s, struct str arg)
{
    arg = str_trim(arg);
    if (!auth_clear_text_allowed(s->base.peer)) {
        pop3_err(s, POP3_CODE_NONE, "passwords are not taken without TLS");
    } else if (arg.n == 0 || arg.n > sizeof s->name || !str_is_utf8(arg)) {
        pop3_err(s, POP3_CODE_NONE, "this is no user name");
    } else {
        memcpy(s->name, arg.p, arg.n);
        s->name_size = (uint16_t)arg.n;
        s->user_given = true;
        pop3_ok(s, "now the password"); /* the same for names that do not exist (RFC 3206 5) */
    }
    return POP3_NEXT_COMMAND;
}

enum pop3_next pop3_login_failed(struct pop3_session *s, const struct err *e)
{
    pop3_err_of(s, e);
    return ++s->auth_failures < s->settings->pop3_auth_failures_max ? POP3_NEXT_COMMAND : POP3_NEXT_CLOSE;
}

enum pop3_next pop3_cmd_pass(struct pop3_session *s, struct str arg)
{
    struct err e = {0};
    if (!s->user_given) {
        pop3_err(s, POP3_CODE_NONE, "USER comes first");
        return POP3_NEXT_COMMAND;
    }
    s->user_given = false; /* RFC 1939 7: PASS only right after USER */
    if (!str_is_utf8(arg)) {
        pop3_err(s, POP3_CODE_AUTH, "the password is not UTF-8");
        return POP3_NEXT_COMMAND;
    }
    struct str name = {s->name, s->name_size};
    if (auth_password(s->services->auth, AUTH_POP3, s->base.peer, name, arg, &s->who, &e) != ST_OK)
        return pop3_login_failed(s, &e);
    pop3_session_login(s);
    return POP3_NEXT_COMMAND;
}
