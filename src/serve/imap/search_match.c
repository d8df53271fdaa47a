/* Does one message fit? */
#include "serve/imap/search.h"

#include <stdio.h>

void search_message_release(struct search_message *m)
{
    buf_release(&m->digest_bytes);
    buf_release(&m->bytes);
    buf_release(&m->text);
    buf_release(&m->folded);
}

enum search_cost search_cost(enum imap_search_kind kind)
{
    switch (kind) {
    case IMAP_SEARCH_AND:
    case IMAP_SEARCH_OR:
    case IMAP_SEARCH_NOT:
    case IMAP_SEARCH_ALL:
    case IMAP_SEARCH_FLAG:
    case IMAP_SEARCH_KEYWORD:
    case IMAP_SEARCH_RECENT:
    case IMAP_SEARCH_SEQUENCE:
    case IMAP_SEARCH_UID:
    case IMAP_SEARCH_BEFORE:
    case IMAP_SEARCH_ON:
    case IMAP_SEARCH_SINCE:
    case IMAP_SEARCH_SAVEDBEFORE:
    case IMAP_SEARCH_SAVEDON:
    case IMAP_SEARCH_SAVEDSINCE:
    case IMAP_SEARCH_SAVEDATESUPPORTED:
    case IMAP_SEARCH_OLDER:
    case IMAP_SEARCH_YOUNGER:
    case IMAP_SEARCH_LARGER:
    case IMAP_SEARCH_SMALLER:
    case IMAP_SEARCH_MODSEQ:
    case IMAP_SEARCH_EMAILID:
        return SEARCH_INDEX;
    case IMAP_SEARCH_SENTBEFORE:
    case IMAP_SEARCH_SENTON:
    case IMAP_SEARCH_SENTSINCE:
    case IMAP_SEARCH_HEADER:
    case IMAP_SEARCH_THREADID:
        return SEARCH_DIGEST;
    case IMAP_SEARCH_BODY:
    case IMAP_SEARCH_TEXT:
        return SEARCH_TEXT;
    }
    return SEARCH_TEXT;
}

static int32_t day_of(int64_t epoch_s)
{
    int64_t day = epoch_s / 86400;
    return (int32_t)(epoch_s % 86400 < 0 ? day - 1 : day);
}

bool search_all_match(struct search_message *m, const struct search_term *first, enum search_cost from, enum search_cost to)
{
    for (const struct search_term *t = first; t; t = t->next)
        if (!t->done && t->cost >= from && t->cost <= to && !search_matches(m, t))
            return false;
    return true;
}

/* The day of Date:, "disregarding time and time zone" (RFC 9051 6.4.4), or, without one that can be read, of the arrival. */
static int32_t sent_day(struct search_message *m)
{
    if (!search_digest(m))
        return 0;
    if (!(m->digest.flags & DIGEST_HAS_DATE))
        return day_of(m->entry->internal_ms / 1000);
    struct date d = {.epoch_s = m->digest.sent_s, .zone_min = m->digest.sent_zone_min};
    return date_local_day(&d);
}

static bool id_is(char letter, uint64_t id, struct str text) /* as FETCH prints it; case matters (RFC 8474 4) */
{
    char want[24];
    int n = snprintf(want, sizeof want, "%c%llx", letter, (unsigned long long)id);
    return str_eq(text, str_make(want, (size_t)n));
}

static bool thread_is(struct search_message *m, struct str text)
{
    if (!m->has_email)
        m->has_email = message_email(m->s->account, m->entry->email, &m->email, &m->err) == ST_OK;
    return m->has_email && id_is('T', m->email.thread, text);
}

static int64_t internal_s(const struct search_message *m) { return m->entry->internal_ms / 1000; }

bool search_matches(struct search_message *m, const struct search_term *t)
{
    const struct imap_search_key *k = t->key;
    const struct message_entry *e = m->entry;
    switch (k->kind) {
    case IMAP_SEARCH_AND:
        return search_all_match(m, t->child, SEARCH_INDEX, SEARCH_TEXT);
    case IMAP_SEARCH_OR:
        return search_matches(m, t->child) || search_matches(m, t->child->next);
    case IMAP_SEARCH_NOT:
        return !search_matches(m, t->child);
    case IMAP_SEARCH_ALL:
    case IMAP_SEARCH_SAVEDATESUPPORTED:
        return true;
    case IMAP_SEARCH_FLAG:
        return (e->flags & k->flag) != 0;
    case IMAP_SEARCH_KEYWORD:
        return (e->keywords & t->keyword) != 0;
    case IMAP_SEARCH_RECENT:
        return uidset_has(&m->s->selected.recent, e->uid);
    case IMAP_SEARCH_SEQUENCE:
    case IMAP_SEARCH_UID:
        return uidset_has(&t->uids, e->uid);
    case IMAP_SEARCH_BEFORE:
        return day_of(internal_s(m)) < k->day;
    case IMAP_SEARCH_ON:
        return day_of(internal_s(m)) == k->day;
    case IMAP_SEARCH_SINCE:
        return day_of(internal_s(m)) >= k->day;
    case IMAP_SEARCH_SENTBEFORE:
        return sent_day(m) < k->day;
    case IMAP_SEARCH_SENTON:
        return sent_day(m) == k->day;
    case IMAP_SEARCH_SENTSINCE:
        return sent_day(m) >= k->day;
    case IMAP_SEARCH_SAVEDBEFORE:
        return day_of(e->saved_s) < k->day;
    case IMAP_SEARCH_SAVEDON:
        return day_of(e->saved_s) == k->day;
    case IMAP_SEARCH_SAVEDSINCE:
        return day_of(e->saved_s) >= k->day;
    case IMAP_SEARCH_OLDER: /* RFC 5032 2: both include the moment itself */
        return m->now_s - internal_s(m) >= (int64_t)k->number;
    case IMAP_SEARCH_YOUNGER:
        return m->now_s - internal_s(m) <= (int64_t)k->number;
    case IMAP_SEARCH_LARGER:
        return e->size > k->number;
    case IMAP_SEARCH_SMALLER:
        return e->size < k->number;
    case IMAP_SEARCH_MODSEQ:
        return e->modseq >= k->number;
    case IMAP_SEARCH_HEADER:
        return search_header(m, t->name, t->text);
    case IMAP_SEARCH_BODY:
        return search_body(m, t->text, false);
    case IMAP_SEARCH_TEXT:
        return search_body(m, t->text, true);
    case IMAP_SEARCH_EMAILID:
        return id_is('M', e->email, k->text);
    case IMAP_SEARCH_THREADID:
        return thread_is(m, k->text);
    }
    return false;
}
