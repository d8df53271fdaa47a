#include <stdio.h>

#include "serve/imap/mailbox_name.h"
#include "serve/imap/table.h"

/* "(USE (\Role ...))" (RFC 6154 3); one role at most. */
static bool use_parameter(struct imap_args *a, unsigned *roles, bool *known)
{
    *known = true;
    if (!imap_parse_space(a) || !imap_parse_char(a, '('))
        return false;
    if (!imap_accept_word(a, "USE"))
        return imap_args_fail(a, "USE");
    if (!imap_parse_space(a) || !imap_parse_char(a, '('))
        return false;
    if (imap_accept(a, ')'))
        return imap_parse_char(a, ')');
    do {
        struct str name;
        if (!imap_parse_char(a, '\\') || !imap_parse_atom(a, &name))
            return false;
        unsigned role = imap_role_named(name);
        *known = *known && role;
        *roles |= role;
    } while (imap_accept(a, ' '));
    bool roles_end = imap_parse_char(a, ')');
    return roles_end && imap_parse_char(a, ')'); /* and the parameters */
}

/* RFC 9051 6.3.4: a hierarchy separator at the end only says that children will come. */
static struct str without_separator(struct str name)
{
    return name.n > 1 && name.p[name.n - 1] == '/' ? str_upto(name, name.n - 1) : name;
}

enum imap_next imap_cmd_create(struct imap_session *s, struct imap_command *c)
{
    struct str name;
    unsigned roles = 0;
    bool known = true;
    struct err e = {0};
    if (!imap_parse_mailbox(&c->args, &name) || (!imap_at_end(&c->args) && !use_parameter(&c->args, &roles, &known)) ||
        !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (!known || (roles & (roles - 1)))
        return imap_no(s, "USEATTR", "A mailbox can have one special use, of those that exist"); /* RFC 6154 3 */
    uint32_t id;
    if (imap_access(s, ACCESS_CREATE, 0, &e) != ST_OK ||
        mailbox_create(s->account, without_separator(name), (enum mailbox_role)roles, &id, &e) != ST_OK)
        return imap_fail(s, &e);
    struct mailbox_info *info = ARENA_NEW(&s->arena, struct mailbox_info);
    if (imap_is_rev2(s) && info && mailbox_find_id(s->account, id, &s->arena, info, &e) == ST_OK)
        imap_tell_old_name(s, "", info->name, without_separator(name));
    char code[40];
    snprintf(code, sizeof code, "MAILBOXID (F%u)", id); /* RFC 8474 4.1 */
    return imap_ok(s, code, "CREATE completed");
}
