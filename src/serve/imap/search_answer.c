/* What SEARCH says: SEARCH and ESEARCH responses (RFC 3501 7.2.5, RFC 9051 7.3.4, 4731, 9394), and the search result variable (RFC
 * 9051 6.4.4.1). */
#include "serve/imap/line.h"
#include "serve/imap/search.h"

void search_answer_release(struct search_answer *a)
{
    uidset_release(&a->found);
    uidset_release(&a->shown);
    uidset_release(&a->listed);
}

/* ---- making ---- */

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "a search"); }

static enum st make_shown(struct search_answer *a)
{
    if (a->what.returns & IMAP_RETURN_PARTIAL)
        return imap_set_partial(&a->found, a->what.partial_first, a->what.partial_last, &a->shown);
    if (!a->esearch || (a->what.returns & IMAP_RETURN_ALL))
        return uidset_copy(&a->found, &a->shown);
    return ST_OK;
}

/* UIDs to what the client wants to hear. Runs of UIDs that it knows are runs of sequence numbers. */
static enum st make_listed(struct imap_session *s, struct search_answer *a)
{
    uint32_t first, last;
    if (a->uid)
        return uidset_copy(&a->shown, &a->listed);
    for (uint64_t at = 0; uidset_next_run(&a->shown, &at, &first, &last);) {
        uint32_t n = imap_sequence_of(s, first);
        TRY(uidset_add_range(&a->listed, n, n + (last - first)));
    }
    return ST_OK;
}

/* The messages that the return options speak of: all, unless there are only MIN, MAX and PARTIAL (RFC 9394 3.2, table 1; RFC 9051
 * 6.4.4.1, table 4). */
static enum st spoken_of(const struct search_answer *a, struct uidset *out)
{
    unsigned returns = a->what.returns, some = IMAP_RETURN_MIN | IMAP_RETURN_MAX | IMAP_RETURN_PARTIAL;
    *out = UIDSET_EMPTY;
    if (!(returns & some) || (returns & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT)) || uidset_empty(&a->found))
        return uidset_copy(&a->found, out);
    if (returns & IMAP_RETURN_PARTIAL)
        TRY(uidset_copy(&a->shown, out));
    if (returns & IMAP_RETURN_MIN)
        TRY(uidset_add(out, uidset_min(&a->found)));
    if (returns & IMAP_RETURN_MAX)
        TRY(uidset_add(out, uidset_max(&a->found)));
    return ST_OK;
}

static bool take_modseq(void *context, const struct message_entry *m)
{
    uint64_t *highest = context;
    *highest = m->modseq > *highest ? m->modseq : *highest;
    return true;
}

enum st search_answer_make(struct imap_session *s, struct search_answer *a, struct err *e)
{
    DEFER(uidset_release) struct uidset spoken = UIDSET_EMPTY;
    if (make_shown(a) != ST_OK || make_listed(s, a) != ST_OK || spoken_of(a, &spoken) != ST_OK)
        return no_memory(e);
    if (a->what.uses_modseq) /* RFC 7162 3.1.5, RFC 4731 3.2 */
        TRY(message_scan(s->account, s->selected.id, &spoken, take_modseq, &a->modseq, e));
    if (a->what.returns & IMAP_RETURN_SAVE) {
        uidset_release(&s->selected.saved);
        s->selected.saved = spoken;
        spoken = UIDSET_EMPTY;
    }
    return ST_OK;
}

/* ---- saying ---- */

static uint32_t number_of(const struct imap_session *s, const struct search_answer *a, uint32_t uid)
{
    return a->uid ? uid : imap_sequence_of(s, uid);
}

static void put_head(struct imap_session *s, const struct search_answer *a)
{
    unsigned returns = a->what.returns;
    bool any = !uidset_empty(&a->found);
    if (!a->esearch) {
        imap_put(s, STR("* SEARCH"));
        return;
    }
    imap_putf(s, "* ESEARCH (TAG \"%s\")%s", s->tag, a->uid ? " UID" : "");
    if ((returns & IMAP_RETURN_MIN) && any)
        imap_putf(s, " MIN %u", number_of(s, a, uidset_min(&a->found)));
    if ((returns & IMAP_RETURN_MAX) && any)
        imap_putf(s, " MAX %u", number_of(s, a, uidset_max(&a->found)));
    if (returns & IMAP_RETURN_COUNT)
        imap_putf(s, " COUNT %llu", (unsigned long long)uidset_count(&a->found));
    if (returns & IMAP_RETURN_PARTIAL)
        imap_putf(s, " PARTIAL (%lld:%lld ", (long long)a->what.partial_first, (long long)a->what.partial_last);
    else if ((returns & IMAP_RETURN_ALL) && any)
        imap_put(s, STR(" ALL "));
}

enum { CHUNK = 4096 };

/* " 1 2 3": what fits of first..last; the next number to say. */
static uint64_t put_numbers(struct imap_session *s, uint32_t first, uint32_t last)
{
    char *from = buf_reserve(s->out, CHUNK), *to = from;
    uint64_t n = first;
    for (; from && n <= last && to - from < CHUNK - LINE_NUMBER_MAX - 1; n++) {
        *to++ = ' ';
        to = line_number(to, n);
    }
    buf_grew(s->out, (size_t)(to - from));
    return n;
}

/* "1:3,7" */
static void put_range(struct imap_session *s, struct search_answer *a, uint32_t first, uint32_t last)
{
    char text[2 * LINE_NUMBER_MAX + 2], *to = text;
    if (a->list_begun)
        *to++ = ',';
    to = line_number(to, first);
    if (last != first) {
        *to++ = ':';
        to = line_number(to, last);
    }
    imap_put(s, str_make(text, (size_t)(to - text)));
}

static enum imap_next put_list(struct imap_session *s, struct search_answer *a)
{
    uint32_t first, last;
    for (;;) {
        if (!imap_room(s))
            return IMAP_MORE;
        if (!uidset_next_run(&a->listed, &a->list_at, &first, &last))
            return IMAP_DONE;
        if (a->esearch)
            put_range(s, a, first, last);
        else
            a->list_at = put_numbers(s, first, last);
        a->list_begun = true;
    }
}

static void put_tail(struct imap_session *s, const struct search_answer *a)
{
    if (a->what.returns & IMAP_RETURN_PARTIAL)
        imap_put(s, a->list_begun ? STR(")") : STR("NIL)"));
    if (a->what.uses_modseq && !uidset_empty(&a->found))
        imap_putf(s, a->esearch ? " MODSEQ %llu" : " (MODSEQ %llu)", (unsigned long long)a->modseq);
    imap_put(s, STR("\r\n"));
}

enum imap_next search_answer_put(struct imap_session *s, struct search_answer *a)
{
    if (a->what.returns == IMAP_RETURN_SAVE) /* RFC 9051 6.4.4: nothing is said then */
        return imap_ok(s, NULL, "SEARCH completed, result saved");
    if (!a->begun)
        put_head(s, a);
    a->begun = true;
    if (put_list(s, a) == IMAP_MORE)
        return IMAP_MORE;
    put_tail(s, a);
    return imap_ok(s, NULL, "SEARCH completed");
}
