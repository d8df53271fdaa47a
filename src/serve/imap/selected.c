/* What the commands share about the selected mailbox and about access. */
#include "serve/imap/imap.h"

/* ---- sets ---- */

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "a message set"); }

static enum st add_range(struct uidset *out, uint32_t a, uint32_t b, struct err *e)
{
    uint32_t first = a < b ? a : b, last = a < b ? b : a;
    return uidset_add_range(out, first, last) == ST_OK ? ST_OK : no_memory(e);
}

/* The numbers as they stand, '*' being `star`. */
static enum st plain(const struct imap_set *set, uint32_t star, struct uidset *out, struct err *e)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct imap_range *r = &set->ranges[i];
        TRY(add_range(out, r->first ? r->first : star, r->last ? r->last : star, e));
    }
    return ST_OK;
}

/* A run of sequence numbers is a run of members: everything between the first and the last of them that is in uids. */
static enum st by_sequence(struct imap_session *s, const struct imap_set *set, struct uidset *out, struct err *e)
{
    const struct uidset *uids = &s->selected.uids;
    uint32_t exists = imap_exists(s);
    for (size_t i = 0; i < set->count; i++) {
        uint32_t a = set->ranges[i].first ? set->ranges[i].first : exists;
        uint32_t b = set->ranges[i].last ? set->ranges[i].last : exists;
        ENSURE(a >= 1 && b >= 1 && a <= exists && b <= exists, e, ST_PERM, "There is no message with that number");
        TRY(add_range(out, uidset_select(uids, a), uidset_select(uids, b), e));
    }
    uidset_and(out, uids);
    return ST_OK;
}

static uint32_t star_uid(const struct imap_session *s)
{
    uint32_t max = uidset_max(&s->selected.uids);
    return max ? max : 1; /* of an empty mailbox it stands for nothing that exists */
}

enum st imap_set_resolve(struct imap_session *s, const struct imap_set *set, bool uid, struct uidset *out, struct err *e)
{
    *out = UIDSET_EMPTY;
    enum st st;
    if (set->saved)
        st = uidset_copy(&s->selected.saved, out) == ST_OK ? ST_OK : no_memory(e);
    else
        st = uid ? plain(set, star_uid(s), out, e) : by_sequence(s, set, out, e);
    if (st == ST_OK)
        uidset_and(out, &s->selected.uids);
    else
        uidset_release(out);
    return st;
}

enum st imap_set_raw(struct imap_session *s, const struct imap_set *set, struct uidset *out, struct err *e)
{
    *out = UIDSET_EMPTY;
    if (set->saved)
        return uidset_copy(&s->selected.saved, out) == ST_OK ? ST_OK : no_memory(e);
    enum st st = plain(set, UINT32_MAX, out, e);
    if (st != ST_OK)
        uidset_release(out);
    return st;
}

enum st imap_set_partial(const struct uidset *set, int64_t first, int64_t last, struct uidset *out)
{
    int64_t count = (int64_t)uidset_count(set), low = first, high = last;
    *out = UIDSET_EMPTY;
    if (first < 0) {
        low = count + last + 1;
        high = count + first + 1;
    }
    low = low < 1 ? 1 : low;
    high = high > count ? count : high;
    if (low > high)
        return ST_OK;
    TRY(uidset_add_range(out, uidset_select(set, (uint32_t)low), uidset_select(set, (uint32_t)high)));
    uidset_and(out, set);
    return ST_OK;
}

/* ---- facts ---- */

const struct mailbox_info *imap_selected_info(struct imap_session *s, bool again, struct err *e)
{
    if (s->info && !again)
        return s->info;
    struct mailbox_info *info = ARENA_NEW(&s->arena, struct mailbox_info);
    if (!info) {
        (void)ERR(e, ST_LIMIT, "The command needs too much memory", "mailbox facts");
        return NULL;
    }
    if (mailbox_find_id(s->account, s->selected.id, &s->arena, info, e) != ST_OK)
        return NULL;
    return s->info = info;
}

static void put_names(struct imap_session *s, const struct mailbox_info *info)
{
    imap_put(s, STR("\\Answered \\Flagged \\Deleted \\Seen \\Draft"));
    for (unsigned i = 0; i < info->keyword_count; i++) {
        imap_put(s, STR(" "));
        imap_put(s, info->keywords[i]);
    }
}

void imap_put_flag_names(struct imap_session *s, const struct mailbox_info *info)
{
    imap_put(s, STR("* FLAGS ("));
    put_names(s, info);
    imap_put(s, STR(")\r\n* OK [PERMANENTFLAGS ("));
    if (!s->selected.read_only) {
        put_names(s, info);
        if (info->keyword_count < MAILBOX_KEYWORDS_MAX)
            imap_put(s, STR(" \\*"));
    }
    imap_put(s, s->selected.read_only ? STR(")] No flag can be changed\r\n") : STR(")] These flags are kept\r\n"));
    s->selected.keyword_count = (uint8_t)info->keyword_count;
}

enum st imap_keyword_bits(struct imap_session *s, const struct imap_flags *flags, bool create, uint64_t *bits, struct err *e)
{
    *bits = 0;
    if (flags->count == 0)
        return ST_OK;
    TRY(mailbox_keywords(s->account, s->selected.id, flags->keywords, flags->count, create, bits, e));
    const struct mailbox_info *info = create ? imap_selected_info(s, true, e) : NULL;
    if (info && info->keyword_count != s->selected.keyword_count)
        imap_put_flag_names(s, info);
    return ST_OK;
}

void imap_condstore_enable(struct imap_session *s)
{
    if (imap_condstore(s))
        return;
    s->enabled |= IMAP_ENABLED_CONDSTORE;
    if (s->selected.id) /* RFC 7162 3.1.8: the response is owed when CONDSTORE is switched on */
        imap_putf(s, "* OK [HIGHESTMODSEQ %llu] Mod-sequences are on\r\n", (unsigned long long)s->selected.safe_modseq);
}

/* ---- access ---- */

enum st imap_access(struct imap_session *s, enum access_right right, uint32_t mailbox, struct err *e)
{
    bool may = s->account && access_allowed(&s->who, right, account_id_of(s->account), mailbox);
    ENSURE(may, e, ST_DENIED, "You may not do that");
    return ST_OK;
}

enum st imap_find_mailbox(struct imap_session *s, struct str name, enum access_right right, struct mailbox_info *out, struct err *e)
{
    TRY(mailbox_find(s->account, name, &s->arena, out, e));
    bool visible = access_allowed(&s->who, ACCESS_LOOKUP, account_id_of(s->account), out->id);
    ENSURE(visible && out->selectable, e, ST_NOTFOUND, "No such mailbox");
    return imap_access(s, right, out->id, e);
}
