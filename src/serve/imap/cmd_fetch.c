/* FETCH and UID FETCH (RFC 9051 6.4.5, 7162, 3516, 8474, 8514, 8970). The answer is a cursor over index pages; ENVELOPE,
 * BODYSTRUCTURE and most header fields come from the digests, so that the message itself is read only for its text. */
#include "serve/imap/fetch.h"

#include "serve/imap/table.h"

static void fetch_release(void *state)
{
    struct fetch *f = state;
    uidset_release(&f->uids);
    uidset_release(&f->told);
    uidset_release(&f->vanished);
    buf_release(&f->digests);
    buf_release(&f->scratch);
    buf_release(&f->one);
}

/* ---- digests of a page ---- */

static bool item_needs_digest(enum imap_fetch_kind kind)
{
    switch (kind) {
    case IMAP_FETCH_ENVELOPE:
    case IMAP_FETCH_BODY:
    case IMAP_FETCH_BODYSTRUCTURE:
    case IMAP_FETCH_PREVIEW:
    case IMAP_FETCH_SECTION:
    case IMAP_FETCH_BINARY:
    case IMAP_FETCH_BINARY_SIZE:
        return true;
    case IMAP_FETCH_UID:
    case IMAP_FETCH_FLAGS:
    case IMAP_FETCH_INTERNALDATE:
    case IMAP_FETCH_RFC822_SIZE:
    case IMAP_FETCH_MODSEQ:
    case IMAP_FETCH_EMAILID:
    case IMAP_FETCH_THREADID:
    case IMAP_FETCH_SAVEDATE:
        return false;
    }
    return false;
}

static bool keep_digest(void *context, uint64_t email, struct str bytes)
{
    struct fetch *f = context;
    for (size_t i = f->page_at; i < f->page_n; i++) { /* in ascending order, as they were asked for */
        f->page_at = i + 1;
        if (f->page[i].email != email)
            continue;
        if (buf_room(&f->digests) >= bytes.n) {
            f->places[i] = (struct fetch_digest){f->digests.n, bytes.n};
            buf_add(&f->digests, bytes);
        }
        return buf_ok(&f->digests);
    }
    return false;
}

/* Reads the digests of the whole page by range, if its e-mails ascend (they do unless messages were copied about). */
static void prefetch_digests(struct imap_session *s, struct fetch *f)
{
    uint64_t emails[FETCH_PAGE];
    struct err e = {0};
    memset(f->places, 0, sizeof f->places);
    buf_clear(&f->digests);
    for (size_t i = 0; i < f->page_n; i++) {
        emails[i] = f->page[i].email;
        if (i > 0 && emails[i] <= emails[i - 1])
            return;
    }
    if (f->page_n > 1 && message_digests(s->account, emails, f->page_n, keep_digest, f, &e) != ST_OK)
        memset(f->places, 0, sizeof f->places);
    f->page_at = 0;
}

bool fetch_need_digest(struct imap_session *s, struct fetch *f)
{
    if (f->has_digest)
        return true;
    const struct fetch_digest *place = &f->places[f->page_at];
    struct str bytes = str_sub(buf_str(&f->digests), place->at, place->n);
    if (!place->n) {
        f->one.max = DIGEST_SIZE_MAX;
        buf_clear(&f->one);
        if (message_digest(s->account, f->page[f->page_at].email, &f->one, &f->err) != ST_OK)
            return false;
        bytes = buf_str(&f->one);
    }
    f->has_digest = digest_open(bytes, &f->digest, &f->err) == ST_OK;
    return f->has_digest;
}

/* ---- items ---- */

static void put_date(struct imap_session *s, const char *label, int64_t epoch_s)
{
    struct date d = {.epoch_s = epoch_s};
    imap_put(s, str_of(label));
    imap_put(s, STR(" \""));
    date_print_imap(&d, s->out);
    imap_put(s, STR("\""));
}

static void put_number(struct imap_session *s, const char *label, uint64_t n)
{
    imap_put(s, str_of(label));
    imap_put(s, STR(" "));
    buf_add_u64(s->out, n);
}

/* Text from the digest, which may be longer than the room. */
static enum fetch_step put_text(struct fetch *f, struct imap_session *s, const char *label, struct str text)
{
    imap_put(s, str_of(label));
    imap_put(s, STR(" "));
    f->stream = FETCH_STREAM_MEMORY;
    f->memory = text;
    return FETCH_NEXT;
}

static enum fetch_step put_thread(struct imap_session *s, struct fetch *f, const struct message_entry *m)
{
    struct message_email email;
    if (message_email(s->account, m->email, &email, &f->err) != ST_OK)
        return FETCH_FAILED;
    imap_putf(s, "THREADID (T%llx)", (unsigned long long)email.thread);
    return FETCH_NEXT;
}

static void put_flags(struct imap_session *s, const struct message_entry *m)
{
    imap_put(s, STR("FLAGS ("));
    imap_put_flags(s, m);
    imap_put(s, STR(")"));
}

static enum fetch_step put_item(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item)
{
    const struct message_entry *m = &f->page[f->page_at];
    switch (item->kind) {
    case IMAP_FETCH_UID:
        put_number(s, "UID", m->uid);
        return FETCH_NEXT;
    case IMAP_FETCH_FLAGS:
        put_flags(s, m);
        return FETCH_NEXT;
    case IMAP_FETCH_INTERNALDATE:
        put_date(s, "INTERNALDATE", m->internal_ms / 1000);
        return FETCH_NEXT;
    case IMAP_FETCH_RFC822_SIZE:
        put_number(s, "RFC822.SIZE", m->size);
        return FETCH_NEXT;
    case IMAP_FETCH_MODSEQ:
        imap_putf(s, "MODSEQ (%llu)", (unsigned long long)m->modseq);
        return FETCH_NEXT;
    case IMAP_FETCH_EMAILID:
        imap_putf(s, "EMAILID (M%llx)", (unsigned long long)m->email);
        return FETCH_NEXT;
    case IMAP_FETCH_THREADID:
        return put_thread(s, f, m);
    case IMAP_FETCH_SAVEDATE:
        put_date(s, "SAVEDATE", m->saved_s);
        return FETCH_NEXT;
    case IMAP_FETCH_ENVELOPE:
        return put_text(f, s, "ENVELOPE", f->digest.envelope);
    case IMAP_FETCH_BODY:
        return put_text(f, s, "BODY", f->digest.body);
    case IMAP_FETCH_BODYSTRUCTURE:
        return put_text(f, s, "BODYSTRUCTURE", f->digest.bodystructure);
    case IMAP_FETCH_PREVIEW:
        imap_put(s, STR("PREVIEW "));
        imap_put_string(s, f->digest.preview);
        return FETCH_NEXT;
    case IMAP_FETCH_SECTION:
    case IMAP_FETCH_BINARY:
    case IMAP_FETCH_BINARY_SIZE:
        return fetch_section(s, f, item);
    }
    return FETCH_NEXT;
}

/* ---- messages ---- */

static void open_message(struct imap_session *s, struct fetch *f)
{
    const struct message_entry *m = &f->page[f->page_at];
    uint32_t n = m->uid == f->last_uid + 1 && f->last_sequence ? f->last_sequence + 1 : imap_sequence_of(s, m->uid);
    f->last_uid = m->uid;
    f->last_sequence = n;
    imap_put(s, STR("* "));
    buf_add_u64(s->out, n);
    imap_put(s, STR(" FETCH ("));
    f->open = true;
    f->spaced = f->has_digest = f->digest_failed = false;
    f->item = 0;
}

static void space(struct imap_session *s, struct fetch *f)
{
    if (f->spaced)
        imap_put(s, STR(" "));
    f->spaced = true;
}

/* What the client did not ask for and gets all the same: UID of UID FETCH, MODSEQ, and the flags that this command changed. */
static void close_message(struct imap_session *s, struct fetch *f)
{
    const struct message_entry *m = &f->page[f->page_at];
    bool seen = uidset_has(&f->told, m->uid) && !imap_fetch_has(&f->what, IMAP_FETCH_FLAGS);
    bool flags = seen || imap_fetch_has(&f->what, IMAP_FETCH_FLAGS);
    if (f->add_uid) {
        space(s, f);
        put_number(s, "UID", m->uid);
    }
    if (seen) {
        space(s, f);
        put_flags(s, m);
    }
    if ((f->add_modseq || (flags && imap_condstore(s))) && !imap_fetch_has(&f->what, IMAP_FETCH_MODSEQ)) { /* RFC 7162 3.2.4 */
        space(s, f);
        imap_putf(s, "MODSEQ (%llu)", (unsigned long long)m->modseq);
    }
    imap_put(s, STR(")\r\n"));
    f->open = false;
    f->page_at++;
}

/* The next page; false: there is none, or an error in f->err. */
static bool read_page(struct imap_session *s, struct fetch *f)
{
    f->page_at = f->page_n = 0;
    while (f->page_n == 0 && f->next_uid) {
        enum st st = message_page(s->account, s->selected.id, &f->uids, &f->next_uid,
                                  (struct message_room){f->page, FETCH_PAGE, &f->page_n}, &f->err);
        if (st != ST_OK)
            return false;
    }
    f->missing -= f->page_n;
    if (f->page_n && f->needs_digest)
        prefetch_digests(s, f);
    return f->page_n > 0;
}

static enum fetch_step do_item(struct imap_session *s, struct fetch *f)
{
    const struct imap_fetch_item *item = &f->what.items[f->item];
    if (item_needs_digest(item->kind) && !fetch_need_digest(s, f))
        return FETCH_FAILED;
    size_t mark = s->out->n;
    space(s, f);
    enum fetch_step step = put_item(s, f, item);
    if (step == FETCH_FAILED)
        buf_cut(s->out, mark); /* without the space and the label */
    f->item++;
    return step;
}

/* A message whose data cannot be had: its answer is closed without the item, the others go on, and the command ends with NO. */
static void give_up_item(struct fetch *f)
{
    f->digest_failed = true;
    f->item = f->what.count;
}

static enum imap_next fetch_end(struct imap_session *s, struct fetch *f)
{
    if (f->err.class == ST_PERM)
        return imap_no(s, "UNKNOWN-CTE", "%s", f->err.text);
    if (f->err.class == ST_NOTFOUND || (f->err.class == ST_OK && f->missing > 0))
        return imap_ok(s, "EXPUNGEISSUED", "FETCH completed, some messages were expunged meanwhile");
    if (f->err.class != ST_OK)
        return imap_fail(s, &f->err);
    return imap_ok(s, NULL, "FETCH completed");
}

static enum imap_next fetch_resume(struct imap_session *s, struct imap_command *c)
{
    struct fetch *f = c->state;
    if (!uidset_empty(&f->vanished) && imap_put_vanished(s, &f->vanished, &f->vanished_at, true) == IMAP_MORE)
        return IMAP_MORE;
    uidset_release(&f->vanished);
    for (;;) {
        enum fetch_step step = f->stream == FETCH_STREAM_NONE ? FETCH_NEXT : fetch_stream(s, f);
        if (step == FETCH_BROKEN) {
            imap_say_bye(s, "A message could not be read to its end");
            return IMAP_CLOSE;
        }
        if (step == FETCH_ROOM || !imap_room(s))
            return IMAP_MORE;
        if (f->open && f->item < f->what.count) {
            if (do_item(s, f) == FETCH_FAILED)
                give_up_item(f);
        } else if (f->open) {
            close_message(s, f);
        } else if (f->page_at < f->page_n || read_page(s, f)) {
            open_message(s, f);
        } else {
            return fetch_end(s, f);
        }
    }
}

/* ---- beginning ---- */

/* RFC 7162 3.1.4.1 and 3.2.6: only what changed since, and what vanished. */
static enum st only_changed(struct imap_session *s, struct fetch *f, struct err *e)
{
    struct mailbox_changes changes;
    TRY(mailbox_changes(s->account, s->selected.id, f->what.changed_since, &changes, e));
    uidset_and(&f->uids, &changes.changed);
    enum st st = ST_OK;
    if (f->what.vanished) {
        st = imap_set_raw(s, &f->what.set, &f->vanished, e);
        uidset_and(&f->vanished, &changes.vanished);
        uidset_minus(&f->vanished, &s->selected.uids); /* not told of yet as EXPUNGE: those come later */
    }
    mailbox_changes_release(&changes);
    return st;
}

/* Reading text without PEEK sets \Seen (RFC 9051 6.4.5): one commit for all, before the answer that tells the new flags. */
static enum st set_seen(struct imap_session *s, struct fetch *f, struct err *e)
{
    struct message_store change = {.mode = MESSAGE_STORE_ADD, .flags = MESSAGE_SEEN, .unchanged_since = UINT64_MAX};
    enum st st = message_store(s->account, s->selected.id, &f->uids, &change, e);
    if (st == ST_OK) {
        imap_own_change(s, &change.changed, change.modseq);
        st = uidset_or(&f->told, &change.changed);
    }
    uidset_release(&change.changed);
    uidset_release(&change.refused);
    return st;
}

static enum st fetch_begin(struct imap_session *s, struct fetch *f, struct err *e)
{
    TRY(imap_access(s, ACCESS_READ, s->selected.id, e));
    if (f->what.has_changed_since)
        TRY(only_changed(s, f, e));
    if (f->what.sets_seen && !s->selected.read_only && access_allowed(&s->who, ACCESS_SEEN, s->who.account, s->selected.id))
        TRY(set_seen(s, f, e));
    f->missing = uidset_count(&f->uids);
    f->next_uid = uidset_empty(&f->uids) ? 0 : 1;
    for (size_t i = 0; i < f->what.count; i++)
        f->needs_digest |= item_needs_digest(f->what.items[i].kind);
    return ST_OK;
}

enum imap_next imap_cmd_fetch(struct imap_session *s, struct imap_command *c)
{
    struct err e = {0};
    struct fetch *f = ARENA_NEW(&s->arena, struct fetch);
    if (!f)
        return imap_no(s, "LIMIT", "The command is too large");
    f->digests.max = FETCH_DIGESTS_MAX;
    c->state = f;
    c->release = fetch_release;
    if (!imap_parse_fetch(&c->args, &f->what) || !imap_parse_end(&c->args))
        return imap_bad_args(s, c);
    if (f->what.vanished && !(imap_qresync(s) && c->uid))
        return imap_bad(s, "VANISHED is for UID FETCH after ENABLE QRESYNC");
    if (f->what.has_changed_since || imap_fetch_has(&f->what, IMAP_FETCH_MODSEQ))
        imap_condstore_enable(s);
    if (imap_set_resolve(s, &f->what.set, c->uid, &f->uids, &e) != ST_OK)
        return imap_fail_set(s, &e);
    f->add_uid = c->uid && !imap_fetch_has(&f->what, IMAP_FETCH_UID);
    f->add_modseq = f->what.has_changed_since;
    if (fetch_begin(s, f, &e) != ST_OK)
        return imap_fail(s, &e);
    c->resume = fetch_resume;
    return fetch_resume(s, c);
}
