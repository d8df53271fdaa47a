/* mailbox.list, .status, .export: what an account has. Import is admin_import.c. */
#include "app/admin.h"
#include "app/admin_import.h"
#include "store/message.h"
#include "store/store.h"

static const char *role_name(enum mailbox_role role)
{
    switch (role) {
    case MAILBOX_ROLE_NONE:
        return "";
    case MAILBOX_ROLE_INBOX:
        return "inbox";
    case MAILBOX_ROLE_ARCHIVE:
        return "archive";
    case MAILBOX_ROLE_DRAFTS:
        return "drafts";
    case MAILBOX_ROLE_SENT:
        return "sent";
    case MAILBOX_ROLE_TRASH:
        return "trash";
    case MAILBOX_ROLE_JUNK:
        return "junk";
    case MAILBOX_ROLE_ALL:
        return "all";
    case MAILBOX_ROLE_FLAGGED:
        return "flagged";
    case MAILBOX_ROLE_IMPORTANT:
        return "important";
    }
    return "";
}

static json_t *mailbox_json(const struct mailbox_info *m)
{
    json_t *j = json_pack("{s:o, s:s, s:b, s:b}", "mailbox", admin_json(m->name), "role", role_name(m->role), "subscribed",
                          m->subscribed, "selectable", m->selectable);
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {
        {"id", m->id},           {"messages", m->exists}, {"unseen", m->unseen},           {"deleted", m->deleted},
        {"size", m->size_bytes}, {"uidnext", m->uidnext}, {"uidvalidity", m->uidvalidity}, {"modseq", m->highest_modseq}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(j, numbers[i].key, json_integer((json_int_t)numbers[i].value));
    return j;
}

static bool emit_mailbox(void *context, const struct mailbox_info *m)
{
    struct admin_call *c = context;
    if (m->id)
        admin_row(c, mailbox_json(m));
    return buf_ok(c->out);
}

static enum st mailbox_list_request(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct account *a = NULL;
    TRY(admin_open_user(c, &a, e));
    enum st st = mailbox_list(a, emit_mailbox, c, e);
    account_unref(a);
    TRY(st);
    admin_done(c, NULL);
    return ST_OK;
}

static enum st find_mailbox(struct admin_call *c, struct account *a, struct mailbox_info *m, struct err *e)
{
    struct str name;
    TRY(admin_text(c, "mailbox", true, &name, e));
    enum st st = mailbox_find(a, name, &c->arena, m, e);
    ENSURE(st != ST_NOTFOUND, e, ST_NOTFOUND, "no mailbox %.*s", STR_FMT(name));
    return st;
}

static enum st mailbox_status_request(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    (void)outcome;
    struct account *a = NULL;
    struct mailbox_info *m = ARENA_NEW(&c->arena, struct mailbox_info);
    ENSURE(m, e, ST_TEMP, "out of memory");
    TRY(admin_open_user(c, &a, e));
    enum st st = find_mailbox(c, a, m, e);
    account_unref(a);
    TRY(st);
    json_t *j = mailbox_json(m), *keywords = json_array();
    for (unsigned i = 0; i < m->keyword_count; i++)
        json_array_append_new(keywords, admin_json(m->keywords[i]));
    json_object_set_new(j, "keywords", keywords);
    admin_done(c, j);
    return ST_OK;
}

/* ---- export ---- */

enum { EXPORT_PAGE = 64, EXPORT_MAILBOXES_MAX = 20000, EXPORT_CHUNK = 1 << 20 };

struct exporting {
    struct account *account;
    uint32_t *mailboxes;
    size_t count, room, at;
    struct mailbox_info info; /* of mailboxes[at], once opened */
    struct arena arena;       /* its texts */
    bool opened;
    uint32_t next_uid;
    bool full; /* more mailboxes than room */
};

static void export_free(void *state)
{
    struct exporting *x = state;
    account_unref(x->account);
    arena_release(&x->arena);
}

static bool note_mailbox(void *context, const struct mailbox_info *m)
{
    struct exporting *x = context;
    if (!m->id || !m->selectable)
        return true;
    x->full = x->count >= x->room;
    if (!x->full)
        x->mailboxes[x->count++] = m->id;
    return !x->full;
}

static enum st export_begin(struct admin_call *c, struct exporting **out, struct err *e)
{
    struct exporting *x = ARENA_NEW(&c->arena, struct exporting);
    ENSURE(x, e, ST_TEMP, "out of memory");
    TRY(admin_open_user(c, &x->account, e));
    c->state = x;
    c->state_free = export_free;
    arena_init(&x->arena, 1 << 20);
    x->room = EXPORT_MAILBOXES_MAX;
    x->mailboxes = ARENA_ARRAY(&c->arena, x->room, uint32_t);
    ENSURE(x->mailboxes, e, ST_TEMP, "out of memory");
    *out = x;
    if (json_object_get(c->args, "mailbox")) {
        TRY(find_mailbox(c, x->account, &x->info, e));
        x->mailboxes[x->count++] = x->info.id;
        return ST_OK;
    }
    TRY(mailbox_list(x->account, note_mailbox, x, e));
    ENSURE(!x->full, e, ST_LIMIT, "more than %d mailboxes", EXPORT_MAILBOXES_MAX);
    return ST_OK;
}

static json_t *message_json(const struct exporting *x, const struct message_entry *m)
{
    json_t *keywords = json_array();
    for (unsigned i = 0; i < x->info.keyword_count; i++)
        if (m->keywords >> i & 1)
            json_array_append_new(keywords, admin_json(x->info.keywords[i]));
    return json_pack("{s:i, s:i, s:I, s:o}", "uid", (int)m->uid, "flags", (int)m->flags, "date_ms", (json_int_t)m->internal_ms,
                     "keywords", keywords);
}

static enum st export_message(struct admin_call *c, struct exporting *x, const struct message_entry *m, struct err *e)
{
    DEFER(buf_release) struct buf bytes = BUF_INIT(m->size);
    while (bytes.n < m->size) {
        size_t before = bytes.n;
        size_t want = m->size - before < EXPORT_CHUNK ? m->size - before : EXPORT_CHUNK;
        TRY(message_read(x->account, m->email, before, want, &bytes, e));
        ENSURE(bytes.n > before, e, ST_CORRUPT, "message %u of %.*s is shorter than it says", m->uid, STR_FMT(x->info.name));
    }
    admin_message(c, message_json(x, m), buf_str(&bytes));
    return ST_OK;
}

/* One page of messages of the mailbox that is open; *end: there are no more. */
static enum st export_page(struct admin_call *c, struct exporting *x, bool *end, struct err *e)
{
    struct message_entry page[EXPORT_PAGE] = {0};
    size_t n = 0;
    TRY(message_page(x->account, x->info.id, NULL, &x->next_uid, (struct message_room){page, EXPORT_PAGE, &n}, e));
    for (size_t i = 0; i < n; i++) {
        enum st st = export_message(c, x, &page[i], e);
        if (st != ST_OK && st != ST_NOTFOUND) /* expunged meanwhile */
            return st;
        if (c->out->n >= ADMIN_OUT_SLICE && i + 1 < n) {
            x->next_uid = page[i].uid + 1;
            return ST_OK;
        }
    }
    *end = x->next_uid == 0;
    return ST_OK;
}

static enum st export_open(struct admin_call *c, struct exporting *x, struct err *e)
{
    arena_release(&x->arena);
    x->next_uid = 1;
    enum st st = mailbox_find_id(x->account, x->mailboxes[x->at], &x->arena, &x->info, e);
    if (st == ST_NOTFOUND) {
        x->at++; /* deleted meanwhile */
        return ST_OK;
    }
    TRY(st);
    x->opened = true;
    admin_row(c, mailbox_json(&x->info));
    return ST_OK;
}

static enum st mailbox_export(struct admin_call *c, enum admin_outcome *outcome, struct err *e)
{
    struct exporting *x = c->state;
    if (!x)
        TRY(export_begin(c, &x, e));
    ENSURE(x, e, ST_BUG, "the export did not begin");
    while (x->at < x->count && c->out->n < ADMIN_OUT_SLICE) {
        bool end = false;
        if (!x->opened) {
            TRY(export_open(c, x, e));
            continue;
        }
        TRY(export_page(c, x, &end, e));
        x->opened = !end;
        x->at += end;
    }
    *outcome = x->at < x->count ? ADMIN_MORE : ADMIN_DONE;
    if (*outcome == ADMIN_DONE)
        admin_done(c, NULL);
    return ST_OK;
}

const struct admin_request admin_mailboxes[] = {{"mailbox.list", mailbox_list_request},
                                                {"mailbox.status", mailbox_status_request},
                                                {"mailbox.export", mailbox_export},
                                                {"mailbox.import", admin_import},
                                                {0}};
