/* Search keys that whole sets of messages answer, without a look at any message. */
#include "serve/imap/search.h"

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "a search"); }

enum st search_sets_init(struct search_sets *sets, struct imap_session *s, struct err *e)
{
    uint64_t modseq;
    *sets = (struct search_sets){.s = s};
    TRY(mailbox_uids(s->account, s->selected.id, &sets->present, &modseq, e));
    uidset_and(&sets->present, &s->selected.uids);
    return ST_OK;
}

void search_sets_release(struct search_sets *sets)
{
    uidset_release(&sets->present);
    uidset_release(&sets->unseen);
    uidset_release(&sets->deleted);
}

bool search_set_can(enum imap_search_kind kind, uint32_t flag)
{
    switch (kind) {
    case IMAP_SEARCH_AND:
    case IMAP_SEARCH_OR:
    case IMAP_SEARCH_NOT:
    case IMAP_SEARCH_ALL:
    case IMAP_SEARCH_SAVEDATESUPPORTED:
    case IMAP_SEARCH_RECENT:
    case IMAP_SEARCH_SEQUENCE:
    case IMAP_SEARCH_UID:
    case IMAP_SEARCH_MODSEQ:
        return true;
    case IMAP_SEARCH_FLAG:
        return flag == IMAP_FLAG_SEEN || flag == IMAP_FLAG_DELETED;
    case IMAP_SEARCH_KEYWORD:
    case IMAP_SEARCH_BEFORE:
    case IMAP_SEARCH_ON:
    case IMAP_SEARCH_SINCE:
    case IMAP_SEARCH_SENTBEFORE:
    case IMAP_SEARCH_SENTON:
    case IMAP_SEARCH_SENTSINCE:
    case IMAP_SEARCH_SAVEDBEFORE:
    case IMAP_SEARCH_SAVEDON:
    case IMAP_SEARCH_SAVEDSINCE:
    case IMAP_SEARCH_OLDER:
    case IMAP_SEARCH_YOUNGER:
    case IMAP_SEARCH_LARGER:
    case IMAP_SEARCH_SMALLER:
    case IMAP_SEARCH_HEADER:
    case IMAP_SEARCH_BODY:
    case IMAP_SEARCH_TEXT:
    case IMAP_SEARCH_EMAILID:
    case IMAP_SEARCH_THREADID:
        break;
    }
    return false;
}

/* Messages with the flag, or without it. */
static enum st by_flag(struct search_sets *sets, uint32_t flag, struct uidset *out, struct err *e)
{
    bool seen = flag == IMAP_FLAG_SEEN;
    struct uidset *set = seen ? &sets->unseen : &sets->deleted;
    bool *has = seen ? &sets->has_unseen : &sets->has_deleted;
    struct imap_session *s = sets->s;
    uint64_t modseq;
    if (!*has)
        TRY(mailbox_subset_uids(s->account, s->selected.id, seen ? MAILBOX_UNSEEN : MAILBOX_DELETED, set, &modseq, e));
    *has = true;
    if (uidset_copy(seen ? &sets->present : set, out) != ST_OK)
        return no_memory(e);
    if (seen)
        uidset_minus(out, set);
    else
        uidset_and(out, &sets->present);
    return ST_OK;
}

/* What changed since is what has a mod-sequence from there on. */
static enum st by_modseq(struct search_sets *sets, uint64_t least, struct uidset *out, struct err *e)
{
    struct mailbox_changes changes;
    if (least == 0)
        return uidset_copy(&sets->present, out) == ST_OK ? ST_OK : no_memory(e);
    TRY(mailbox_changes(sets->s->account, sets->s->selected.id, least - 1, &changes, e));
    uidset_and(&changes.changed, &sets->present);
    *out = changes.changed;
    uidset_release(&changes.vanished);
    return ST_OK;
}

static enum st all_of(struct search_sets *sets, const struct search_term *first, struct uidset *out, struct err *e)
{
    if (uidset_copy(&sets->present, out) != ST_OK)
        return no_memory(e);
    for (const struct search_term *t = first; t; t = t->next) {
        DEFER(uidset_release) struct uidset one = UIDSET_EMPTY;
        TRY(search_set_solve(sets, t, &one, e));
        uidset_and(out, &one);
    }
    return ST_OK;
}

static enum st either(struct search_sets *sets, const struct search_term *first, struct uidset *out, struct err *e)
{
    DEFER(uidset_release) struct uidset other = UIDSET_EMPTY;
    TRY(search_set_solve(sets, first, out, e));
    TRY(search_set_solve(sets, first->next, &other, e));
    return uidset_or(out, &other) == ST_OK ? ST_OK : no_memory(e);
}

static enum st none_of(struct search_sets *sets, const struct search_term *t, struct uidset *out, struct err *e)
{
    DEFER(uidset_release) struct uidset not = UIDSET_EMPTY;
    TRY(search_set_solve(sets, t, &not, e));
    if (uidset_copy(&sets->present, out) != ST_OK)
        return no_memory(e);
    uidset_minus(out, &not );
    return ST_OK;
}

static enum st part_of(struct search_sets *sets, const struct uidset *set, struct uidset *out, struct err *e)
{
    if (uidset_copy(set, out) != ST_OK)
        return no_memory(e);
    uidset_and(out, &sets->present);
    return ST_OK;
}

/* The depth is bounded by the grammar (IMAP_PARSE_DEPTH_MAX). */
enum st search_set_solve(struct search_sets *sets, const struct search_term *t, struct uidset *out, struct err *e)
{
    *out = UIDSET_EMPTY;
    enum imap_search_kind kind = t->key->kind;
    if (kind == IMAP_SEARCH_AND)
        return all_of(sets, t->child, out, e);
    if (kind == IMAP_SEARCH_OR)
        return either(sets, t->child, out, e);
    if (kind == IMAP_SEARCH_NOT)
        return none_of(sets, t->child, out, e);
    if (kind == IMAP_SEARCH_FLAG)
        return by_flag(sets, t->key->flag, out, e);
    if (kind == IMAP_SEARCH_MODSEQ)
        return by_modseq(sets, t->key->number, out, e);
    if (kind == IMAP_SEARCH_RECENT)
        return part_of(sets, &sets->s->selected.recent, out, e);
    if (kind == IMAP_SEARCH_SEQUENCE || kind == IMAP_SEARCH_UID)
        return part_of(sets, &t->uids, out, e);
    return part_of(sets, &sets->present, out, e); /* ALL, SAVEDATESUPPORTED */
}
