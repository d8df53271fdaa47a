#include "serve/imap/mailbox_name.h"

static const struct {
    enum mailbox_role role;
    const char *name;
} roles[] = {
    {MAILBOX_ROLE_ARCHIVE, "\\Archive"}, {MAILBOX_ROLE_DRAFTS, "\\Drafts"},       {MAILBOX_ROLE_SENT, "\\Sent"},
    {MAILBOX_ROLE_TRASH, "\\Trash"},     {MAILBOX_ROLE_JUNK, "\\Junk"},           {MAILBOX_ROLE_ALL, "\\All"},
    {MAILBOX_ROLE_FLAGGED, "\\Flagged"}, {MAILBOX_ROLE_IMPORTANT, "\\Important"},
};
enum { ROLES = sizeof roles / sizeof *roles };

unsigned imap_role_named(struct str name)
{
    for (size_t i = 0; i < ROLES; i++)
        if (str_eq_nocase(name, str_of(roles[i].name + 1)))
            return roles[i].role;
    return 0;
}

const char *imap_role_name(enum mailbox_role role)
{
    for (size_t i = 0; i < ROLES; i++)
        if (roles[i].role == role)
            return roles[i].name;
    return NULL;
}
