/* SEARCH and UID SEARCH (RFC 9051 6.4.4, 7.3.4; RFC 3501, 4731, 5182, 7162, 9394). Walks through the index in pages, yielding
 * between them; only what a key asks for is read: index entries, then digests, then text. */
#include "format/charset.h"
#include "rt/clock.h"
#include "rt/permit.h"
#include "serve/imap/search.h"
#include "serve/imap/table.h"

enum { SEARCH_PAGE = 128, SEARCH_PAGES_AT_ONCE = 64, SEARCH_TEXT_MAX = 64 << 10 };

/* Where the wording of the answer is. */
enum search_phase { SEARCH_SCAN, SEARCH_HEAD, SEARCH_LIST, SEARCH_TAIL };

struct search {
    struct imap_search what;
    struct search_term *program, *all;
    struct uidset candidates; /* what the top level of the program leaves possible */
    struct uidset found;      /* UIDs */
    struct uidset numbers;    /* as they are said: UIDs or sequence numbers */
    struct uidset listed;     /* of them, what ALL or PARTIAL says */
    bool uid, esearch;
    uint32_t next_uid;
    uint64_t modseq;      /* highest of what was found */
    struct permit permit; /* held while texts are searched */
    struct search_message message;
    enum search_phase phase;
    uint64_t list_at;
    uint32_t list_uid;
    bool list_begun;
};

static void search_release(void *state)
{
    struct search *r = state;
    for (struct search_term *t = r->all; t; t = t->all)
        uidset_release(&t->uids);
    uidset_release(&r->candidates);
    uidset_release(&r->found);
    uidset_release(&r->numbers);
    uidset_release(&r->listed);
    buf_release(&r->message.digest_bytes);
    permit_give(&r->permit);
}

/* ---- making the program ready ---- */

static enum st fold_text(struct imap_session *s, const struct search *r, struct str text, struct str *out, struct err *e)
{
    DEFER(buf_release) struct buf utf8 = BUF_INIT(SEARCH_TEXT_MAX);
    DEFER(buf_release) struct buf folded = BUF_INIT(SEARCH_TEXT_MAX * 4);
    charset_to_utf8(r->what.charset.n ? r->what.charset : STR("utf-8"), text, &utf8);
    charset_fold(buf_str(&utf8), &folded);
    *out = arena_str(&s->arena, buf_str(&folded));
    ENSURE(buf_ok(&utf8) && buf_ok(&folded) && out->p, e, ST_LIMIT, "A text to search for is too long");
    return ST_OK;
}

static enum st keyword_bit(struct imap_session *s, struct str name, uint64_t *bit, struct err *e)
{
    struct imap_flags flags = {.keywords = &name, .count = 1};
    return imap_keyword_bits(s, &flags, false, bit, e);
}

static enum st term_fill(struct imap_session *s, struct search *r, struct search_term *t, struct err *e)
{
    const struct imap_search_key *k = t->key;
    if (k->kind ==
        IMAP_SEARCH_SEQUENCE) /* "1:*" in an empty mailbox is nothing rather than an error: clients do not look at EXISTS first */
        return imap_exists(s) == 0 ? ST_OK : imap_set_resolve(s, &k->set, false, &t->uids, e);
    if (k->kind == IMAP_SEARCH_UID)
        return imap_set_resolve(s, &k->set, true, &t->uids, e);
    if (k->kind == IMAP_SEARCH_KEYWORD)
        return keyword_bit(s, k->text, &t->keyword, e);
    bool text = k->kind == IMAP_SEARCH_BODY || k->kind == IMAP_SEARCH_TEXT;
    if (text && !r->permit.held)
        TRY(permit_take(PERMIT_SEARCH, &r->permit, e));
    t->name = k->name;
    return text || k->kind == IMAP_SEARCH_HEADER ? fold_text(s, r, k->text, &t->text, e) : ST_OK;
}

/* The tree of terms for a list of keys; depth is bounded by the grammar (IMAP_PARSE_DEPTH_MAX). */
static enum st make_terms(struct imap_session *s, struct search *r, const struct imap_search_key *first, struct search_term **out,
                          struct err *e)
{
    for (const struct imap_search_key *k = first; k; k = k->next) {
        struct search_term *t = ARENA_NEW(&s->arena, struct search_term);
        ENSURE(t, e, ST_LIMIT, "The search program is too large");
        t->key = k;
        t->all = r->all;
        r->all = t;
        TRY(term_fill(s, r, t, e));
        TRY(make_terms(s, r, k->child, &t->child, e));
        *out = t;
        out = &t->next;
    }
    return ST_OK;
}

/* Sets at the top level are an AND: the rest of the mailbox need not be looked at. */
static enum st narrow(struct imap_session *s, struct search *r, struct err *e)
{
    if (uidset_copy(&s->selected.uids, &r->candidates) != ST_OK)
        return ERR_PUBLIC(e, ST_TEMP, "Out of memory");
    for (const struct search_term *t = r->program->child; t; t = t->next)
        if (t->key->kind == IMAP_SEARCH_UID || t->key->kind == IMAP_SEARCH_SEQUENCE)
            uidset_and(&r->candidates, &t->uids);
    return ST_OK;
}

/* ---- scanning ---- */

static enum st look_at(struct imap_session *s, struct search *r, const struct message_entry *entry, struct err *e)
{
    struct search_message *m = &r->message;
    m->entry = entry;
    m->has_digest = false;
    m->err.class = ST_OK;
    (void)s;
    if (!search_matches(m, r->program))
        return m->err.class == ST_OK || m->err.class == ST_NOTFOUND ? ST_OK
                                                                    : ERR(e, m->err.class, m->err.text, "%s", m->err.detail);
    if (entry->modseq > r->modseq)
        r->modseq = entry->modseq;
    return uidset_add(&r->found, entry->uid) == ST_OK ? ST_OK : ERR_PUBLIC(e, ST_TEMP, "Out of memory");
}

/* Some pages; *more: there are others. */
static enum st scan(struct imap_session *s, struct search *r, bool *more, struct err *e)
{
    struct message_entry page[SEARCH_PAGE];
    for (int pages = 0; r->next_uid && pages < SEARCH_PAGES_AT_ONCE; pages++) {
        size_t n = 0;
        TRY(message_page(s->account, s->selected.id, &r->candidates, &r->next_uid, (struct message_room){page, SEARCH_PAGE, &n},
                         e));
        for (size_t i = 0; i < n; i++)
            TRY(look_at(s, r, &page[i], e));
        if (r->permit.held)
            break; /* texts are slow: others get their turn after each page */
    }
    *more = r->next_uid != 0;
    return ST_OK;
}

/* ---- results ---- */

/* UIDs to what the client wants to hear. Runs of UIDs that it knows are runs of sequence numbers. */
static enum st make_numbers(struct imap_session *s, struct search *r)
{
    uint32_t first, last;
    if (r->uid)
        return uidset_copy(&r->found, &r->numbers);
    for (uint64_t at = 0; uidset_next_run(&r->found, &at, &first, &last);) {
        uint32_t n = imap_sequence_of(s, first);
        TRY(uidset_add_range(&r->numbers, n, n + (last - first)));
    }
    return ST_OK;
}

/* RFC 9394 3.1: positions from the front, or from the back if negative. */
static enum st make_partial(struct search *r)
{
    int64_t count = (int64_t)uidset_count(&r->numbers), a = r->what.partial_first, b = r->what.partial_last;
    if (a < 0) {
        a = count + a + 1;
        b = count + b + 1;
    }
    if (a > b) {
        int64_t t = a;
        a = b;
        b = t;
    }
    a = a < 1 ? 1 : a;
    b = b > count ? count : b;
    if (a > b)
        return ST_OK;
    uint32_t first = uidset_select(&r->numbers, (uint32_t)a), last = uidset_select(&r->numbers, (uint32_t)b);
    TRY(uidset_add_range(&r->listed, first, last));
    uidset_and(&r->listed, &r->numbers);
    return ST_OK;
}

/* RFC 5182 2.1: with MIN or MAX and nothing that needs the rest, only those are saved. */
static enum st save(struct imap_session *s, struct search *r)
{
    struct uidset *saved = &s->selected.saved;
    unsigned ends = r->what.returns & (IMAP_RETURN_MIN | IMAP_RETURN_MAX);
    uidset_release(saved);
    if (!ends || (r->what.returns & (IMAP_RETURN_ALL | IMAP_RETURN_COUNT | IMAP_RETURN_PARTIAL)) || uidset_empty(&r->found))
        return uidset_copy(&r->found, saved);
    if (ends & IMAP_RETURN_MIN)
        TRY(uidset_add(saved, uidset_min(&r->found)));
    if (ends & IMAP_RETURN_MAX)
        TRY(uidset_add(saved, uidset_max(&r->found)));
    return ST_OK;
}

static enum st make_results(struct imap_session *s, struct search *r)
{
    TRY(make_numbers(s, r));
    if (r->what.returns & IMAP_RETURN_PARTIAL)
        TRY(make_partial(r));
    else if (!r->esearch || (r->what.returns & IMAP_RETURN_ALL))
        TRY(uidset_copy(&r->numbers, &r->listed));
    return r->what.returns & IMAP_RETURN_SAVE ? save(s, r) : ST_OK;
}

/* ---- the answer ---- */

static void put_esearch_head(struct imap_session *s, const struct search *r)
{
    unsigned returns = r->what.returns;
    bool any = !uidset_empty(&r->numbers);
    imap_putf(s, "* ESEARCH (TAG \"%s\")%s", s->tag, r->uid ? " UID" : "");
    if ((returns & IMAP_RETURN_MIN) && any)
        imap_putf(s, " MIN %u", uidset_min(&r->numbers));
    if ((returns & IMAP_RETURN_MAX) && any)
        imap_putf(s, " MAX %u", uidset_max(&r->numbers));
    if (returns & IMAP_RETURN_COUNT)
        imap_putf(s, " COUNT %llu", (unsigned long long)uidset_count(&r->numbers));
    if (returns & IMAP_RETURN_PARTIAL)
        imap_putf(s, " PARTIAL (%lld:%lld ", (long long)r->what.partial_first, (long long)r->what.partial_last);
    else if ((returns & IMAP_RETURN_ALL) && any)
        imap_put(s, STR(" ALL "));
}

/* The numbers of r->listed: as ranges (ESEARCH), or one by one. */
static enum imap_next put_list(struct imap_session *s, struct search *r)
{
    uint32_t first, last;
    while (uidset_next_run(&r->listed, &r->list_at, &first, &last)) {
        for (uint32_t n = first; n >= first && n <= last; n++) {
            if (!imap_room(s)) {
                r->list_at = n;
                return IMAP_MORE;
            }
            if (!r->esearch)
                imap_put(s, STR(" "));
            else if (r->list_begun)
                imap_put(s, STR(","));
            r->list_begun = true;
            buf_add_u64(s->out, n);
            if (r->esearch && n < last) {
                imap_put(s, STR(":"));
                buf_add_u64(s->out, last);
                break;
            }
        }
    }
    return IMAP_DONE;
}

static void put_tail(struct imap_session *s, const struct search *r)
{
    bool any = !uidset_empty(&r->numbers);
    if (r->what.returns & IMAP_RETURN_PARTIAL)
        imap_put(s, r->list_begun ? STR(")") : STR("NIL)"));
    if (r->what.uses_modseq && any) /* RFC 7162 3.1.5, 3.1.10 */
        imap_putf(s, r->esearch ? " MODSEQ %llu" : " (MODSEQ %llu)", (unsigned long long)r->modseq);
    imap_put(s, STR("\r\n"));
}

static enum imap_next search_end(struct imap_session *s, struct search *r)
{
    bool only_saved = r->what.returns == IMAP_RETURN_SAVE; /* RFC 5182 2.1: nothing is said then */
    if (r->phase == SEARCH_HEAD) {
        if (only_saved)
            return imap_ok(s, NULL, "SEARCH completed, result saved");
        if (r->esearch)
            put_esearch_head(s, r);
        else
            imap_put(s, STR("* SEARCH"));
        r->phase = SEARCH_LIST;
    }
    if (put_list(s, r) == IMAP_MORE)
        return IMAP_MORE;
    put_tail(s, r);
    return imap_ok(s, NULL, "SEARCH completed");
}

static enum imap_next search_resume(struct imap_session *s, struct imap_command *c)
{
    struct search *r = c->state;
    struct err e = {0};
    bool more = false;
    if (r->phase == SEARCH_SCAN) {
        enum st st = scan(s, r, &more, &e);
        if (st == ST_OK && more)
            return IMAP_MORE;
        permit_give(&r->permit);
        if (st == ST_OK && make_results(s, r) != ST_OK)
            st = ERR_PUBLIC(&e, ST_TEMP, "Out of memory");
        if (st != ST_OK) {
            if (r->what.returns & IMAP_RETURN_SAVE)
                uidset_release(&s->selected.saved); /* RFC 5182 2.1: a failed search leaves it empty */
            return imap_fail(s, &e);
        }
        r->phase = SEARCH_HEAD;
    }
    return search_end(s, r);
}

enum imap_next imap_cmd_search(struct imap_session *s, struct imap_command *c)
{
    struct err e = {0};
    struct search *r = ARENA_NEW(&s->arena, struct search);
    if (!r)
        return imap_no(s, "LIMIT", "The command is too large");
    c->state = r;
    c->release = search_release;
    if (!imap_parse_search(&c->args, &r->what) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (r->what.charset.n && !charset_known(r->what.charset))
        return imap_no(s, "BADCHARSET (UTF-8)", "The charset is not known");
    r->uid = c->uid;
    r->esearch = r->what.extended || imap_is_rev2(s);
    if (r->esearch && !r->what.returns)
        r->what.returns = IMAP_RETURN_ALL;
    if (r->what.uses_modseq)
        imap_condstore_enable(s);
    r->message = (struct search_message){.s = s, .now_s = clock_wall_ms() / 1000};
    enum st st = make_terms(s, r, r->what.program, &r->program, &e);
    if (st == ST_PERM)
        return imap_fail_set(s, &e);
    if (st == ST_OK)
        st = narrow(s, r, &e);
    if (st == ST_OK)
        st = imap_access(s, ACCESS_READ, s->selected.id, &e);
    if (st != ST_OK)
        return imap_fail(s, &e);
    r->next_uid = uidset_empty(&r->candidates) ? 0 : 1;
    r->phase = SEARCH_SCAN;
    c->resume = search_resume;
    return search_resume(s, c);
}
