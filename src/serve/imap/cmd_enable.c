#include "serve/imap/table.h"

static const struct {
    const char *name;
    unsigned bits;
} extensions[] = {
    {"IMAP4rev2", IMAP_ENABLED_REV2},
    {"UTF8=ACCEPT", IMAP_ENABLED_UTF8}, /* RFC 9755 */
    {"CONDSTORE", IMAP_ENABLED_CONDSTORE},
    {"QRESYNC", IMAP_ENABLED_QRESYNC | IMAP_ENABLED_CONDSTORE}, /* RFC 7162 3.2.3 */
};

enum { EXTENSIONS = sizeof extensions / sizeof *extensions };

/* RFC 9051 6.3.1, 5161. What is unknown is ignored; what is on already is not told again. */
enum imap_next imap_cmd_enable(struct imap_session *s, struct imap_command *c)
{
    bool named[EXTENSIONS] = {false};
    struct str name;
    do {
        if (!imap_parse_atom(&c->args, &name))
            return imap_bad_args(s, c);
        for (size_t i = 0; i < EXTENSIONS; i++)
            named[i] = named[i] || str_eq_nocase(name, str_of(extensions[i].name));
    } while (imap_accept(&c->args, ' '));
    if (!imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    unsigned before = s->enabled;
    imap_put(s, STR("* ENABLED"));
    for (size_t i = 0; i < EXTENSIONS; i++)
        if (named[i] && (extensions[i].bits & ~before))
            imap_putf(s, " %s", extensions[i].name);
    imap_put(s, STR("\r\n"));
    for (size_t i = 0; i < EXTENSIONS; i++) {
        if (named[i] && (extensions[i].bits & IMAP_ENABLED_CONDSTORE))
            imap_condstore_enable(s);
        s->enabled |= named[i] ? extensions[i].bits : 0;
    }
    if (imap_is_rev2(s))
        uidset_release(&s->selected.recent); /* RFC 9051 has no \Recent */
    return imap_ok(s, NULL, "ENABLE completed");
}
