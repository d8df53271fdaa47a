#include "app/admin_import.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/check.h"
#include "kv/engine.h"
#include "rt/clock.h"
#include "rt/random.h"
#include "store/message.h"
#include "store/store.h"

enum {
    BATCH_MESSAGES = 256,
    BATCH_BYTES = 8 << 20,
    KEYWORDS_MAX = 16,   /* of one message */
    KNOWN_MAX = 8 << 20, /* messages of a mailbox that are remembered to be skipped */
    LEASE_MS = 20000,    /* renewed with each batch */
    LEASE_WAIT_MS = 30000,
    LEASE_POLL_MS = 50,
};

/* The messages that a mailbox had: how often each, by the first 8 bytes of their SHA-256. Open addressing. */
struct known {
    uint64_t *keys;
    uint32_t *counts;
    size_t size; /* a power of two; 0: nothing known */
};

struct importing {
    struct account *account;
    struct kv *kv;
    char lease[32], holder[32];
    bool again;
    struct str mailbox; /* name of the one in work, in the call's arena */
    uint32_t mailbox_id;
    struct known known;
    struct buf bytes; /* of the batch, one after the other */
    struct message_append list[BATCH_MESSAGES];
    struct str keywords[BATCH_MESSAGES][KEYWORDS_MAX];
    size_t offsets[BATCH_MESSAGES];
    size_t count;
    struct arena arena; /* texts of the batch */
    uint64_t imported, skipped;
};

/* ---- what is there already ---- */

static void known_release(struct known *k)
{
    free(k->keys);
    free(k->counts);
    *k = (struct known){0};
}

static uint64_t known_key(const struct kv_blob_id *id) { return le64_get(id->sha256) | 1; }

static uint32_t *known_place(const struct known *k, uint64_t key)
{
    check(k->keys && k->size); /* opened: see known_read */
    size_t i = (size_t)(key >> 1) & (k->size - 1);
    while (k->keys[i] && k->keys[i] != key)
        i = (i + 1) & (k->size - 1);
    k->keys[i] = key;
    return &k->counts[i];
}

static enum st known_open(struct known *k, uint64_t messages, struct err *e)
{
    ENSURE(messages <= KNOWN_MAX, e, ST_LIMIT, "the mailbox is too large to be compared; say --again");
    k->size = 1024;
    while (k->size < messages * 2)
        k->size *= 2;
    k->keys = calloc(k->size, sizeof *k->keys);
    k->counts = calloc(k->size, sizeof *k->counts);
    ENSURE(k->keys && k->counts, e, ST_TEMP, "out of memory");
    return ST_OK;
}

static enum st known_read(struct importing *m, uint64_t messages, struct err *e)
{
    struct message_entry page[64] = {0};
    uint32_t next = 1;
    uint64_t seen = 0;
    TRY(known_open(&m->known, messages, e));
    while (next) {
        size_t n = 0;
        TRY(message_page(m->account, m->mailbox_id, NULL, &next, (struct message_room){page, 64, &n}, e));
        for (size_t i = 0; i < n && seen < messages; i++, seen++) {
            struct message_email email;
            enum st st = message_email(m->account, page[i].email, &email, e);
            if (st == ST_OK)
                ++*known_place(&m->known, known_key(&email.blob));
            else if (st != ST_NOTFOUND)
                return st;
        }
        if (seen >= messages)
            break;
    }
    return ST_OK;
}

/* True if the message was there; counts it off. */
static bool known_take(struct known *k, struct str bytes)
{
    if (!k->size)
        return false;
    struct kv_blob_id id = kv_blob_id_of(bytes);
    uint64_t key = known_key(&id);
    size_t i = (size_t)(key >> 1) & (k->size - 1);
    while (k->keys[i] && k->keys[i] != key)
        i = (i + 1) & (k->size - 1);
    if (!k->keys[i] || !k->counts[i])
        return false;
    k->counts[i]--;
    return true;
}

/* ---- one at a time ---- */

/* Messages on their way from an import that was broken off still arrive while the next one looks what is there: an account takes
 * one import at a time. */
static enum st lease_renew(struct importing *m, struct err *e)
{
    uint64_t epoch;
    return kv_lease_take(m->kv, str_of(m->lease), str_of(m->holder), LEASE_MS, &epoch, e);
}

static enum st lease_take(struct importing *m, struct err *e)
{
    snprintf(m->lease, sizeof m->lease, "import.%016llx", (unsigned long long)account_id_of(m->account));
    snprintf(m->holder, sizeof m->holder, "import.%016llx", (unsigned long long)random_u64());
    int64_t until = clock_mono_ms() + LEASE_WAIT_MS;
    for (;;) {
        struct err why = {0};
        enum st st = lease_renew(m, &why);
        if (st == ST_CONFLICT && clock_mono_ms() < until) {
            clock_sleep_ms(LEASE_POLL_MS);
            continue;
        }
        ENSURE(st != ST_CONFLICT, e, ST_CONFLICT, "another import into this account is under way");
        *e = why;
        return st;
    }
}

/* ---- batches ---- */

static enum st flush(struct importing *m, struct err *e)
{
    if (m->count == 0)
        return ST_OK;
    TRY(lease_renew(m, e));
    for (size_t i = 0; i < m->count; i++) {
        m->list[i].bytes.p = m->bytes.p + m->offsets[i]; /* the buffer does not move any more */
        m->list[i].keywords = m->keywords[i];
    }
    TRY(message_append(m->account, m->mailbox_id, m->list, m->count, e));
    m->imported += m->count;
    m->count = 0;
    buf_clear(&m->bytes);
    arena_release(&m->arena);
    return ST_OK;
}

static enum st enter_mailbox(struct admin_call *c, struct importing *m, struct str name, struct err *e)
{
    struct mailbox_info *info = ARENA_NEW(&c->arena, struct mailbox_info);
    ENSURE(info, e, ST_LIMIT, "too many mailboxes in one import");
    TRY(flush(m, e));
    known_release(&m->known);
    m->mailbox = arena_str(&c->arena, name);
    ENSURE(m->mailbox.p, e, ST_LIMIT, "too many mailboxes in one import");
    enum st st = mailbox_find(m->account, name, &c->arena, info, e);
    if (st == ST_NOTFOUND) {
        TRY(mailbox_create(m->account, name, MAILBOX_ROLE_NONE, &m->mailbox_id, e));
        return mailbox_subscribe(m->account, name, true, e);
    }
    TRY(st);
    m->mailbox_id = info->id;
    return m->again || info->exists == 0 ? ST_OK : known_read(m, info->exists, e);
}

static enum st add_keywords(struct importing *m, json_t *names, struct message_append *a, struct err *e)
{
    size_t i;
    json_t *one;
    json_array_foreach(names, i, one)
    {
        if (!json_is_string(one) || a->keyword_count >= KEYWORDS_MAX)
            continue;
        struct str copy = arena_str(&m->arena, str_make(json_string_value(one), json_string_length(one)));
        ENSURE(copy.p, e, ST_LIMIT, "too many keywords");
        m->keywords[m->count][a->keyword_count++] = copy;
    }
    return ST_OK;
}

static enum st take_message(struct admin_call *c, struct importing *m, struct err *e)
{
    const char *name = json_string_value(json_object_get(c->frame, "mailbox"));
    ENSURE(name && *name, e, ST_PERM, "a message without a mailbox");
    if (!str_eq(str_of(name), m->mailbox))
        TRY(enter_mailbox(c, m, str_of(name), e));
    if (known_take(&m->known, c->data)) {
        m->skipped++;
        return ST_OK;
    }
    struct message_append *a = &m->list[m->count];
    *a = (struct message_append){.bytes = {NULL, c->data.n},
                                 .flags = (uint32_t)json_integer_value(json_object_get(c->frame, "flags")) & 0x1f,
                                 .internal_ms = json_integer_value(json_object_get(c->frame, "date_ms")),
                                 .ignore_quota = true};
    TRY(add_keywords(m, json_object_get(c->frame, "keywords"), a, e));
    m->offsets[m->count] = m->bytes.n;
    buf_add(&m->bytes, c->data);
    ENSURE(buf_ok(&m->bytes), e, ST_TEMP, "out of memory");
    m->count++;
    return m->count == BATCH_MESSAGES || m->bytes.n >= BATCH_BYTES ? flush(m, e) : ST_OK;
}

static void import_free(void *state)
{
    struct importing *m = state;
    if (m->holder[0] && kv_lease_drop(m->kv, str_of(m->lease), str_of(m->holder), NULL) != ST_OK)
        m->holder[0] = '\0'; /* it ends by itself */
    account_unref(m->account);
    known_release(&m->known);
    buf_release(&m->bytes);
    arena_release(&m->arena);
    free(m);
}

enum st admin_import(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    struct importing *m = c->state;
    *outcome = ADMIN_INPUT;
    if (!m) {
        struct account *account = NULL;
        TRY(admin_open_user(c, &account, e));
        m = calloc(1, sizeof *m);
        if (!m) {
            account_unref(account);
            return ERR_PUBLIC(e, ST_TEMP, "out of memory");
        }
        m->account = account;
        m->again = admin_flag(c, "again");
        arena_init(&m->arena, 4 << 20);
        buf_init(&m->bytes, BATCH_BYTES + (size_t)c->context->message_max_bytes);
        c->state = m;
        c->state_free = import_free;
        m->kv = store_kv(c->context->services->store);
        return lease_take(m, e);
    }
    if (!c->ended)
        return take_message(c, m, e);
    TRY(flush(m, e));
    *outcome = ADMIN_DONE;
    admin_done(c, json_pack("{s:I, s:I}", "imported", (json_int_t)m->imported, "skipped", (json_int_t)m->skipped));
    return ST_OK;
}
