#include "serve/imap/search.h"

static int32_t day_of(int64_t epoch_s)
{
    int64_t day = epoch_s / 86400;
    return (int32_t)(epoch_s % 86400 < 0 ? day - 1 : day);
}

/* Cheap terms first cost nothing when they fail: the client's order is kept, as clients put flags and dates before texts. */
static bool all_match(struct search_message *m, const struct search_term *first)
{
    for (const struct search_term *t = first; t; t = t->next)
        if (!search_matches(m, t))
            return false;
    return true;
}

static bool sent_day(struct search_message *m, int32_t *day)
{
    if (!search_digest(m))
        return false;
    if (m->digest.flags & DIGEST_HAS_DATE) {
        struct date d = {.epoch_s = m->digest.sent_s, .zone_min = m->digest.sent_zone_min};
        *day = date_local_day(&d); /* RFC 9051 6.4.4: disregarding time and time zone */
    } else {
        *day = day_of(m->entry->internal_ms / 1000);
    }
    return true;
}

static bool id_is(char letter, uint64_t id, struct str text)
{
    uint64_t v = 0;
    if (text.n < 2 || text.n > 17 || text.p[0] != letter)
        return false;
    for (size_t i = 1; i < text.n; i++) {
        int digit = ascii_hex_value(text.p[i]);
        if (digit < 0)
            return false;
        v = v << 4 | (unsigned)digit;
    }
    return v == id;
}

static bool thread_is(struct search_message *m, struct str text)
{
    struct message_email email;
    return message_email(m->s->account, m->entry->email, &email, &m->err) == ST_OK && id_is('T', email.thread, text);
}

static int32_t internal_day(const struct search_message *m) { return day_of(m->entry->internal_ms / 1000); }

bool search_matches(struct search_message *m, const struct search_term *t)
{
    const struct imap_search_key *k = t->key;
    const struct message_entry *e = m->entry;
    int32_t day = 0;
    switch (k->kind) {
    case IMAP_SEARCH_AND:
        return all_match(m, t->child);
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
        return internal_day(m) < k->day;
    case IMAP_SEARCH_ON:
        return internal_day(m) == k->day;
    case IMAP_SEARCH_SINCE:
        return internal_day(m) >= k->day;
    case IMAP_SEARCH_SENTBEFORE:
        return sent_day(m, &day) && day < k->day;
    case IMAP_SEARCH_SENTON:
        return sent_day(m, &day) && day == k->day;
    case IMAP_SEARCH_SENTSINCE:
        return sent_day(m, &day) && day >= k->day;
    case IMAP_SEARCH_SAVEDBEFORE:
        return day_of(e->saved_s) < k->day;
    case IMAP_SEARCH_SAVEDON:
        return day_of(e->saved_s) == k->day;
    case IMAP_SEARCH_SAVEDSINCE:
        return day_of(e->saved_s) >= k->day;
    case IMAP_SEARCH_OLDER:
        return m->now_s - e->internal_ms / 1000 > (int64_t)k->number;
    case IMAP_SEARCH_YOUNGER:
        return m->now_s - e->internal_ms / 1000 <= (int64_t)k->number;
    case IMAP_SEARCH_LARGER:
        return e->size > k->number;
    case IMAP_SEARCH_SMALLER:
        return e->size < k->number;
    case IMAP_SEARCH_MODSEQ:
        return e->modseq >= k->number;
    case IMAP_SEARCH_HEADER:
        return search_header(m, t->name, t->text);
    case IMAP_SEARCH_BODY:
        return search_body(m, t->text);
    case IMAP_SEARCH_TEXT:
        return search_any_header(m, t->text) || search_body(m, t->text);
    case IMAP_SEARCH_EMAILID:
        return id_is('M', e->email, k->text);
    case IMAP_SEARCH_THREADID:
        return thread_is(m, k->text);
    }
    return false;
}
