#include "rt/log.h"
#include "serve/imap/table.h"

enum { ID_PAIRS_MAX = 30 /* RFC 2971 3.3 */ };

/* "(" string SP nstring ... ")" or NIL. Name and version go into the log. */
static bool id_params(struct imap_args *a, struct str *name, struct str *version)
{
    struct str key, value;
    if (imap_accept_word(a, "NIL"))
        return imap_parse_end(a);
    if (!imap_parse_char(a, '('))
        return false;
    for (int i = 0; !imap_accept(a, ')'); i++) {
        if (i == ID_PAIRS_MAX)
            return imap_args_fail(a, "at most 30 fields");
        if ((i > 0 && !imap_parse_space(a)) || !imap_parse_string(a, &key) || !imap_parse_space(a) ||
            !imap_parse_nstring(a, &value))
            return false;
        if (str_eq_nocase(key, STR("name")))
            *name = value;
        if (str_eq_nocase(key, STR("version")))
            *version = value;
    }
    return imap_parse_end(a);
}

/* RFC 2971 */
enum imap_next imap_cmd_id(struct imap_session *s, struct imap_command *c)
{
    struct str name = STR_NONE, version = STR_NONE;
    if (!id_params(&c->args, &name, &version))
        return imap_bad_args(s, c);
    if (name.n)
        log_event(LOG_INFO, "imap.id", LOG_UINT("session", s->base.id), LOG_STR("name", str_upto(name, 100)),
                  LOG_STR("version", str_upto(version, 100)));
    imap_put(s, STR("* ID (\"name\" \"Postrider\" \"version\" \"" POSTRIDER_VERSION "\")\r\n"));
    return imap_ok(s, NULL, "ID completed");
}
