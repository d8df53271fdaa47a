/* SEARCH and UID SEARCH (RFC 9051 6.4.4; RFC 3501, 4731, 5032, 5182, 7162, 8474, 8514, 9394).
 *
 * What sets of messages answer narrows the candidates first; keys of the index are then looked up in one walk; only for those that
 * are left digests and, last, texts are read, in slices between which others get their turn. */
#include "format/charset.h"
#include "rt/clock.h"
#include "rt/permit.h"
#include "serve/imap/search.h"
#include "serve/imap/table.h"

struct search {
    struct search_answer answer;
    struct search_term *program, *all;
    size_t set_bytes;
    enum search_cost cost;        /* the highest in the program that is left */
    struct uidset candidates;     /* what is not ruled out yet */
    uint32_t next_uid;            /* of the slices; 0: no more */
    uint32_t run_first, run_last; /* found, and not yet in answer.found */
    struct search_message message;

    struct message_entry page[SEARCH_EMAILS];
    struct message_email emails[SEARCH_EMAILS];
    struct {
        size_t at, n;
    } digests[SEARCH_EMAILS]; /* in `ahead`; n 0: not there */
    size_t page_n, ahead_at;
    struct buf ahead;
};

static void search_release(void *state)
{
    struct search *r = state;
    for (struct search_term *t = r->all; t; t = t->all)
        uidset_release(&t->uids);
    uidset_release(&r->candidates);
    search_answer_release(&r->answer);
    search_message_release(&r->message);
    buf_release(&r->ahead);
}

static enum st no_memory(struct err *e) { return ERR(e, ST_TEMP, "Out of memory", "a search"); }

/* ---- making the program ready ---- */

static enum st fold_text(struct imap_session *s, const struct search *r, struct str text, struct str *out, struct err *e)
{
    DEFER(buf_release) struct buf utf8 = BUF_INIT(SEARCH_TEXT_MAX);
    DEFER(buf_release) struct buf folded = BUF_INIT(SEARCH_TEXT_MAX * 4);
    struct str charset = r->answer.what.charset;
    charset_to_utf8(charset.n ? charset : STR("utf-8"), text, &utf8);
    charset_fold(buf_str(&utf8), &folded);
    *out = arena_str(&s->arena, buf_str(&folded));
    ENSURE(buf_ok(&utf8) && buf_ok(&folded) && out->p, e, ST_LIMIT, "A text to search for is too long");
    return ST_OK;
}

static enum st term_set(struct imap_session *s, struct search *r, struct search_term *t, bool uid, struct err *e)
{
    if (!uid && imap_exists(s) == 0) /* "1:*" in an empty mailbox is nothing: clients do not look at EXISTS first */
        return ST_OK;
    TRY(imap_set_resolve(s, &t->key->set, uid, &t->uids, e));
    r->set_bytes += uidset_memory(&t->uids);
    ENSURE(r->set_bytes <= SEARCH_SETS_MAX, e, ST_LIMIT, "The search program is too large");
    return ST_OK;
}

static enum st term_fill(struct imap_session *s, struct search *r, struct search_term *t, struct err *e)
{
    const struct imap_search_key *k = t->key;
    t->cost = search_cost(k->kind);
    t->is_set = search_set_can(k->kind, k->flag);
    if (k->kind == IMAP_SEARCH_SEQUENCE || k->kind == IMAP_SEARCH_UID)
        return term_set(s, r, t, k->kind == IMAP_SEARCH_UID, e);
    if (k->kind == IMAP_SEARCH_KEYWORD) {
        struct str name = k->text;
        struct imap_flags flags = {.keywords = &name, .count = 1};
        return imap_keyword_bits(s, &flags, false, &t->keyword, e);
    }
    t->name = k->name;
    bool text = t->cost == SEARCH_TEXT || k->kind == IMAP_SEARCH_HEADER;
    return text ? fold_text(s, r, k->text, &t->text, e) : ST_OK;
}

/* What a term is like because of those below it; cheap ones come first, so that dear ones are asked less often. */
static void adopt(struct search_term *t, struct search_term *children)
{
    struct search_term **tail = &t->child;
    for (enum search_cost cost = SEARCH_INDEX; cost <= SEARCH_TEXT; cost++) {
        for (struct search_term **from = &children; *from;) {
            struct search_term *one = *from;
            if (one->cost != cost) {
                from = &one->next;
                continue;
            }
            *from = one->next;
            one->next = NULL;
            *tail = one;
            tail = &one->next;
            t->cost = cost > t->cost ? cost : t->cost;
            t->is_set = t->is_set && one->is_set;
        }
    }
}

/* The tree of terms for a list of keys; depth is bounded by the grammar (IMAP_PARSE_DEPTH_MAX). */
static enum st make_terms(struct imap_session *s, struct search *r, const struct imap_search_key *first, struct search_term **out,
                          struct err *e)
{
    for (const struct imap_search_key *k = first; k; k = k->next) {
        struct search_term *t = ARENA_NEW(&s->arena, struct search_term), *children = NULL;
        ENSURE(t, e, ST_LIMIT, "The search program is too large");
        t->key = k;
        t->all = r->all;
        r->all = t;
        TRY(term_fill(s, r, t, e));
        TRY(make_terms(s, r, k->child, &children, e));
        adopt(t, children);
        *out = t;
        out = &t->next;
    }
    return ST_OK;
}

/* The program is an AND: each of its terms that a set answers narrows the candidates and is done with. */
static enum st narrow(struct imap_session *s, struct search *r, struct err *e)
{
    DEFER(search_sets_release) struct search_sets sets;
    TRY(search_sets_init(&sets, s, e));
    if (uidset_copy(&sets.present, &r->candidates) != ST_OK)
        return no_memory(e);
    for (struct search_term *t = r->program->child; t; t = t->next) {
        if (!t->is_set) {
            r->cost = t->cost > r->cost ? t->cost : r->cost;
            continue;
        }
        DEFER(uidset_release) struct uidset fit = UIDSET_EMPTY;
        TRY(search_set_solve(&sets, t, &fit, e));
        uidset_and(&r->candidates, &fit);
        t->done = true;
    }
    return ST_OK;
}

/* ---- walking ---- */

static enum st flush_found(struct search *r, struct err *e)
{
    uint32_t first = r->run_first;
    r->run_first = 0;
    return !first || uidset_add_range(&r->answer.found, first, r->run_last) == ST_OK ? ST_OK : no_memory(e);
}

static enum st take_found(struct search *r, uint32_t uid, struct err *e)
{
    if (!r->run_first || uid != r->run_last + 1) {
        TRY(flush_found(r, e));
        r->run_first = uid;
    }
    r->run_last = uid;
    return ST_OK;
}

struct walk {
    struct search *r;
    enum st st;
    struct err *e;
};

static bool look_into_index(void *context, const struct message_entry *entry)
{
    struct walk *w = context;
    w->r->message.entry = entry;
    if (search_all_match(&w->r->message, w->r->program->child, SEARCH_INDEX, SEARCH_INDEX))
        w->st = take_found(w->r, entry->uid, w->e);
    return w->st == ST_OK;
}

/* Keys of the index: what is left becomes the candidates. */
static enum st walk_index(struct imap_session *s, struct search *r, struct err *e)
{
    bool any = false;
    for (const struct search_term *t = r->program->child; t; t = t->next)
        any = any || (!t->done && t->cost == SEARCH_INDEX);
    if (!any || uidset_empty(&r->candidates))
        return ST_OK;
    struct walk w = {.r = r, .st = ST_OK, .e = e};
    TRY(message_scan(s->account, s->selected.id, &r->candidates, look_into_index, &w, e));
    TRY(w.st);
    TRY(flush_found(r, e));
    uidset_release(&r->candidates);
    r->candidates = r->answer.found;
    r->answer.found = UIDSET_EMPTY;
    return ST_OK;
}

static bool keep_email(void *context, const struct message_email *email, struct str digest)
{
    struct search *r = context;
    while (r->ahead_at < r->page_n && r->page[r->ahead_at].email < email->id)
        r->ahead_at++;
    if (r->ahead_at == r->page_n)
        return false;
    size_t i = r->ahead_at++;
    r->emails[i] = *email;
    if (buf_room(&r->ahead) >= digest.n) {
        r->digests[i].at = r->ahead.n;
        buf_add(&r->ahead, digest);
        r->digests[i].n = buf_ok(&r->ahead) ? digest.n : 0;
    }
    return true;
}

/* Reads facts and digests of the page by range, if its e-mails ascend (they do unless messages were copied about). What is not had
 * here is read when it is needed. */
static void read_ahead(struct imap_session *s, struct search *r)
{
    uint64_t ids[SEARCH_EMAILS];
    struct err e = {0};
    memset(r->digests, 0, sizeof r->digests);
    memset(r->emails, 0, sizeof r->emails);
    buf_clear(&r->ahead);
    r->ahead_at = 0;
    for (size_t i = 0; i < r->page_n; i++) {
        ids[i] = r->page[i].email;
        if (i > 0 && ids[i] <= ids[i - 1])
            return;
    }
    if (message_emails(s->account, ids, r->page_n, keep_email, r, &e) != ST_OK)
        memset(r->digests, 0, sizeof r->digests);
}

static enum st look_into_message(struct search *r, size_t i, struct err *e)
{
    struct search_message *m = &r->message;
    struct err ignored = {0};
    m->entry = &r->page[i];
    m->has_bytes = false;
    m->err = (struct err){0};
    m->email = r->emails[i];
    m->has_email = m->email.id != 0;
    m->has_digest = r->digests[i].n &&
                    digest_open(str_sub(buf_str(&r->ahead), r->digests[i].at, r->digests[i].n), &m->digest, &ignored) == ST_OK;
    bool fits = search_all_match(m, r->program->child, SEARCH_DIGEST, SEARCH_TEXT);
    if (m->err.class == ST_NOTFOUND) /* expunged meanwhile */
        return ST_OK;
    if (m->err.class != ST_OK)
        return ERR(e, m->err.class, m->err.text, "%s", m->err.detail);
    return fits ? take_found(r, m->entry->uid, e) : ST_OK;
}

/* Some messages, whose number and text are bounded. */
static enum st walk_slice(struct imap_session *s, struct search *r, struct err *e)
{
    r->message.read_bytes = 0;
    for (unsigned looked = 0; r->next_uid && looked < SEARCH_SLICE_MESSAGES; looked += SEARCH_EMAILS) {
        struct message_room room = {r->page, SEARCH_EMAILS, &r->page_n};
        TRY(message_page(s->account, s->selected.id, &r->candidates, &r->next_uid, room, e));
        read_ahead(s, r);
        for (size_t i = 0; i < r->page_n; i++) {
            TRY(look_into_message(r, i, e));
            if (r->message.read_bytes < SEARCH_SLICE_BYTES || i + 1 == r->page_n)
                continue;
            r->next_uid = r->page[i + 1].uid;
            return flush_found(r, e);
        }
    }
    return flush_found(r, e);
}

/* Texts are slow: few search them at once. The permit is held for a slice only, so that nobody waits for a client. */
static enum st walk_some(struct imap_session *s, struct search *r, struct err *e)
{
    DEFER(permit_give) struct permit permit = {0};
    if (r->cost == SEARCH_TEXT)
        TRY(permit_take(PERMIT_SEARCH, &permit, e));
    return walk_slice(s, r, e);
}

/* ---- the command ---- */

/* RFC 9051 6.4.4.1: a failed SEARCH that should have saved its result leaves the variable empty. */
static enum imap_next fail(struct imap_session *s, const struct search *r, const struct err *e)
{
    if (r->answer.what.returns & IMAP_RETURN_SAVE)
        uidset_release(&s->selected.saved);
    return imap_fail(s, e);
}

static enum imap_next search_answer_resume(struct imap_session *s, struct imap_command *c)
{
    struct search *r = c->state;
    return search_answer_put(s, &r->answer);
}

static enum imap_next search_resume(struct imap_session *s, struct imap_command *c)
{
    struct search *r = c->state;
    struct err e = {0};
    if (r->next_uid && walk_some(s, r, &e) != ST_OK)
        return fail(s, r, &e);
    if (r->next_uid)
        return IMAP_MORE;
    if (search_answer_make(s, &r->answer, &e) != ST_OK)
        return fail(s, r, &e);
    c->resume = search_answer_resume;
    return search_answer_resume(s, c);
}

static enum st search_begin(struct imap_session *s, struct search *r, struct err *e)
{
    TRY(imap_access(s, ACCESS_READ, s->selected.id, e));
    TRY(narrow(s, r, e));
    TRY(walk_index(s, r, e));
    if (r->cost > SEARCH_INDEX) {
        r->next_uid = uidset_min(&r->candidates);
        return ST_OK;
    }
    r->answer.found = r->candidates;
    r->candidates = UIDSET_EMPTY;
    return ST_OK;
}

enum imap_next imap_cmd_search(struct imap_session *s, struct imap_command *c)
{
    struct err e = {0};
    struct search *r = ARENA_NEW(&s->arena, struct search);
    if (!r)
        return imap_no(s, "LIMIT", "The command is too large");
    struct imap_search *what = &r->answer.what;
    r->ahead.max = SEARCH_DIGESTS_MAX;
    c->state = r;
    c->release = search_release;
    if (!imap_parse_search(&c->args, what) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (what->charset.n && (s->enabled & IMAP_ENABLED_UTF8))
        return imap_bad(s, "Expected no CHARSET after ENABLE UTF8=ACCEPT: all is UTF-8"); /* RFC 9755 3 */
    c->keep_expunges = what->uses_sequence; /* RFC 7162 3.2.10.2, also for UID SEARCH */
    if (what->charset.n && !charset_known(what->charset)) {
        if (what->returns & IMAP_RETURN_SAVE)
            uidset_release(&s->selected.saved);
        return imap_no(s, "BADCHARSET (UTF-8)", "The charset is not known");
    }
    r->answer.uid = c->uid;
    r->answer.esearch = what->extended || imap_is_rev2(s);
    if (r->answer.esearch && !what->returns)
        what->returns = IMAP_RETURN_ALL;
    if (what->uses_modseq)
        imap_condstore_enable(s);
    r->message = (struct search_message){.s = s, .now_s = clock_wall_ms() / 1000};
    enum st st = make_terms(s, r, what->program, &r->program, &e);
    if (st == ST_PERM)
        return imap_fail_set(s, &e);
    if (st == ST_OK)
        st = search_begin(s, r, &e);
    if (st != ST_OK)
        return fail(s, r, &e);
    c->resume = search_resume;
    return search_resume(s, c);
}
