/* RFC 9208: one quota root for each account, named "". Limits are set by the administrator, not by SETQUOTA. */
#include "serve/imap/table.h"

static void put_quota(struct imap_session *s)
{
    struct account_quota q;
    account_quota(s->account, &q);
    imap_put(s, STR("* QUOTA \"\" ("));
    const char *between = "";
    if (q.bytes_max != UINT64_MAX) { /* in units of 1024 bytes, RFC 9208 5.1 */
        imap_putf(s, "STORAGE %llu %llu", (unsigned long long)((q.bytes_used + 1023) / 1024),
                  (unsigned long long)(q.bytes_max / 1024));
        between = " ";
    }
    if (q.messages_max != UINT64_MAX)
        imap_putf(s, "%sMESSAGE %llu %llu", between, (unsigned long long)q.messages_used, (unsigned long long)q.messages_max);
    imap_put(s, STR(")\r\n"));
}

enum imap_next imap_cmd_getquota(struct imap_session *s, struct imap_command *c)
{
    struct str root;
    if (!imap_parse_astring(&c->args, &root) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (root.n)
        return imap_no(s, "NONEXISTENT", "There is no such quota root");
    put_quota(s);
    return imap_ok(s, NULL, "GETQUOTA completed");
}

enum imap_next imap_cmd_getquotaroot(struct imap_session *s, struct imap_command *c)
{
    struct str name;
    struct err e = {0};
    if (!imap_parse_mailbox(&c->args, &name) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (imap_access(s, ACCESS_READ, 0, &e) != ST_OK)
        return imap_fail(s, &e);
    imap_put(s, STR("* QUOTAROOT "));
    imap_put_mailbox(s, name); /* it need not exist (RFC 9208 4.1.2) */
    imap_put(s, STR(" \"\"\r\n"));
    put_quota(s);
    return imap_ok(s, NULL, "GETQUOTAROOT completed");
}
