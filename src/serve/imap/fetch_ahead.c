/* What FETCH reads ahead: facts and digests of the next messages of the page by range, and the bytes of small ones in one go. */
#include "serve/imap/fetch.h"

/* ---- facts and digests ---- */

/* What keeps the e-mails of the window while they are read in the order of their ids. */
struct ahead {
    struct fetch *f;
    uint8_t order[FETCH_EMAILS]; /* of the window, by id */
    size_t next;
};
_Static_assert((int)FETCH_EMAILS <= 256, "order");

static void keep_digest(struct fetch *f, struct fetch_email *place, struct str digest)
{
    if (!f->needs_digest || buf_room(&f->digests) < digest.n)
        return;
    place->at = f->digests.n;
    buf_add(&f->digests, digest);
    place->n = buf_ok(&f->digests) ? digest.n : 0;
}

static bool keep_email(void *context, const struct message_email *email, struct str digest)
{
    struct ahead *a = context;
    struct fetch *f = a->f;
    for (; a->next < f->window_n; a->next++) {
        uint8_t i = a->order[a->next];
        uint64_t id = f->page[f->window + i].email;
        if (id > email->id)
            return true;
        if (id < email->id)
            continue;
        f->emails[i].known = true;
        f->emails[i].email = *email;
        keep_digest(f, &f->emails[i], digest);
    }
    return false;
}

/* Insertion sort: the ids are in order already unless messages were copied about. */
static void sort_window(const struct fetch *f, struct ahead *a)
{
    for (size_t i = 0; i < f->window_n; i++) {
        size_t at = i;
        uint64_t id = f->page[f->window + i].email;
        for (; at > 0 && f->page[f->window + a->order[at - 1]].email > id; at--)
            a->order[at] = a->order[at - 1];
        a->order[at] = (uint8_t)i;
    }
}

/* Reads facts and digests of the next messages by range. What fails here is tried again, and then told, when its turn comes. */
static void read_ahead(struct imap_session *s, struct fetch *f)
{
    uint64_t ids[FETCH_EMAILS];
    struct ahead a = {.f = f};
    struct err e = {0};
    size_t n = 0;
    f->window = f->bodies_end = f->page_at;
    f->window_n = f->page_n - f->page_at < FETCH_EMAILS ? f->page_n - f->page_at : FETCH_EMAILS;
    memset(f->emails, 0, f->window_n * sizeof *f->emails);
    buf_clear(&f->digests);
    if (f->needs_digest)
        buf_reserve(&f->digests, f->window_n * FETCH_DIGEST_USUAL); /* to grow would copy all of them, again and again */
    sort_window(f, &a);
    for (size_t i = 0; i < f->window_n; i++) {
        uint64_t id = f->page[f->window + a.order[i]].email;
        if (n == 0 || ids[n - 1] != id)
            ids[n++] = id;
    }
    if (message_emails(s->account, ids, n, keep_email, &a, &e) != ST_OK)
        memset(f->emails, 0, f->window_n * sizeof *f->emails);
}

void fetch_ahead(struct imap_session *s, struct fetch *f)
{
    if (f->page_at >= f->window + f->window_n)
        read_ahead(s, f);
}

const struct message_email *fetch_email(struct imap_session *s, struct fetch *f)
{
    struct fetch_email *place = &f->emails[f->page_at - f->window];
    if (!place->known)
        place->known = message_email(s->account, f->page[f->page_at].email, &place->email, &f->err) == ST_OK;
    return place->known ? &place->email : NULL;
}

bool fetch_need_digest(struct imap_session *s, struct fetch *f)
{
    if (f->has_digest)
        return true;
    const struct fetch_email *place = &f->emails[f->page_at - f->window];
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

/* ---- bytes ---- */

/* Reads the messages of the window from the current one on, as many as may be kept; what is large is read in its turn, and so is
 * what fails here. */
static void read_bodies(struct imap_session *s, struct fetch *f)
{
    struct kv_blob_place places[KV_TOGETHER_MAX];
    struct fetch_email *of[KV_TOGETHER_MAX];
    struct err e = {0};
    size_t n = 0, bytes = 0, at = f->page_at;
    for (; at < f->window + f->window_n; at++) {
        struct fetch_email *email = &f->emails[at - f->window];
        if (!email->known || email->email.size == 0 || email->email.size > KV_TOGETHER_BYTES)
            continue;
        if (n == KV_TOGETHER_MAX || bytes + email->email.size > FETCH_BODIES_MAX)
            break;
        bytes += email->email.size;
        places[n] = (struct kv_blob_place){.id = email->email.blob};
        of[n++] = email;
    }
    f->bodies_end = at;
    buf_clear(&f->bodies);
    if (n < 2 || !buf_reserve(&f->bodies, bytes) || message_read_together(s->account, places, n, &f->bodies, &e) != ST_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        of[i]->has_body = places[i].found && places[i].n == of[i]->email.size;
        of[i]->body_at = places[i].at;
    }
}

/* The whole current message, if it was read ahead; p NULL: it was not. */
static struct str body_ahead(struct imap_session *s, struct fetch *f)
{
    if (f->page_at >= f->bodies_end)
        read_bodies(s, f);
    const struct fetch_email *email = &f->emails[f->page_at - f->window];
    return email->has_body ? str_sub(buf_str(&f->bodies), email->body_at, email->email.size) : STR_NONE;
}

enum st fetch_read(struct imap_session *s, struct fetch *f, uint64_t offset, size_t n, struct buf *out)
{
    const struct message_email *email = fetch_email(s, f);
    size_t before = out->n;
    if (!email)
        return f->err.class == ST_OK ? ST_TEMP : f->err.class;
    if (n == 0)
        return ST_OK;
    struct str body = body_ahead(s, f);
    if (body.p && offset <= body.n)
        buf_add(out, str_sub(body, (size_t)offset, n));
    else
        TRY(message_read_email(s->account, email, offset, n, out, &f->err));
    if (out->n - before == n)
        return ST_OK;
    return ERR(&f->err, ST_CORRUPT, "The message is shorter in the store than it should be", "%zu bytes of %zu at %llu",
               out->n - before, n, (unsigned long long)offset);
}
