#include "serve/imap/cmd_status.h"

#include "rt/settings.h"

static uint64_t recent(struct imap_session *s, const struct mailbox_info *info)
{
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    struct err e = {0};
    uint64_t modseq;
    if (info->first_recent_uid >= info->uidnext || mailbox_uids(s->account, info->id, &uids, &modseq, &e) != ST_OK)
        return 0;
    return uidset_count(&uids) - (info->first_recent_uid ? uidset_rank(&uids, info->first_recent_uid - 1) : 0);
}

static bool add_size(void *context, const struct message_entry *m)
{
    *(uint64_t *)context += m->size;
    return true;
}

/* RFC 9208 4.1.4: the sum of the sizes will do. */
static uint64_t deleted_storage(struct imap_session *s, const struct mailbox_info *info)
{
    DEFER(uidset_release) struct uidset uids = UIDSET_EMPTY;
    struct err e = {0};
    uint64_t modseq, sum = 0;
    if (info->deleted == 0 || mailbox_subset_uids(s->account, info->id, MAILBOX_DELETED, &uids, &modseq, &e) != ST_OK ||
        message_scan(s->account, info->id, &uids, add_size, &sum, &e) != ST_OK)
        return 0;
    return sum;
}

void imap_put_status(struct imap_session *s, struct str name, const struct mailbox_info *info, unsigned items)
{
    const struct {
        unsigned bit;
        const char *word;
        uint64_t value;
    } rows[] = {
        {IMAP_STATUS_MESSAGES, "MESSAGES", info->exists},
        {IMAP_STATUS_RECENT, "RECENT", items & IMAP_STATUS_RECENT ? recent(s, info) : 0},
        {IMAP_STATUS_UIDNEXT, "UIDNEXT", info->uidnext},
        {IMAP_STATUS_UIDVALIDITY, "UIDVALIDITY", info->uidvalidity},
        {IMAP_STATUS_UNSEEN, "UNSEEN", info->unseen},
        {IMAP_STATUS_DELETED, "DELETED", info->deleted},
        {IMAP_STATUS_DELETED_STORAGE, "DELETED-STORAGE", items & IMAP_STATUS_DELETED_STORAGE ? deleted_storage(s, info) : 0},
        {IMAP_STATUS_SIZE, "SIZE", info->size_bytes},
        {IMAP_STATUS_HIGHESTMODSEQ, "HIGHESTMODSEQ", info->highest_modseq},
        {IMAP_STATUS_APPENDLIMIT, "APPENDLIMIT", (uint64_t)s->settings->message_size_max},
    };
    imap_put(s, STR("* STATUS "));
    imap_put_mailbox(s, name);
    const char *before = " (";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!(items & rows[i].bit))
            continue;
        imap_putf(s, "%s%s %llu", before, rows[i].word, (unsigned long long)rows[i].value);
        before = " ";
    }
    if (items & IMAP_STATUS_MAILBOXID)
        imap_putf(s, "%sMAILBOXID (F%u)", before, info->id);
    imap_put(s, STR(")\r\n"));
}

/* RFC 9051 6.3.11 */
enum imap_next imap_cmd_status(struct imap_session *s, struct imap_command *c)
{
    struct str name;
    unsigned items;
    struct err e = {0};
    struct mailbox_info *info = ARENA_NEW(&s->arena, struct mailbox_info);
    if (!imap_parse_mailbox(&c->args, &name) || !imap_parse_space(&c->args) || !imap_parse_status_items(&c->args, &items) ||
        !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (!info)
        return imap_no(s, "LIMIT", "Out of memory");
    if (imap_find_mailbox(s, name, ACCESS_READ, info, &e) != ST_OK)
        return imap_fail(s, &e);
    if (items & IMAP_STATUS_HIGHESTMODSEQ)
        imap_condstore_enable(s); /* RFC 7162 3.1 */
    imap_put_status(s, name, info, items);
    return imap_ok(s, NULL, "STATUS completed");
}
