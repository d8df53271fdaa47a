/* Random operations on the store and on a naive model of it; after each both must say the same, and fsck must find nothing. */
#include "store/testing.h"

#include "store/care.h"
#include "store/deliver.h"

enum { BOXES = 24, MESSAGES = 300, GONE = 4000, KEYWORDS = 6, OPERATIONS = 1200 };

struct mail {
    uint32_t uid, flags, content;
    unsigned keywords; /* bits of keyword_names */
    uint64_t modseq, email;
    int64_t internal_ms;
};
struct box {
    bool used, selectable, subscribed;
    char name[120];
    uint32_t id, uidvalidity, uidnext;
    uint64_t highest, created;
    struct mail mails[MESSAGES];
    size_t count;
    struct {
        uint32_t uid;
        uint64_t modseq;
    } gone[GONE];
    size_t gone_count;
};
struct model {
    struct testing *t;
    struct box boxes[BOXES];
    char subs[BOXES * 4][120];
    size_t sub_count;
    uint64_t state;   /* of the generator */
    uint32_t content; /* last content made */
    uint64_t modseq;
    uint32_t uidvalidity;
};

static const char *const keyword_names[KEYWORDS] = {"$Forwarded", "$Junk", "Later", "work", "$MDNSent", "x"};

static uint64_t any(struct model *m, uint64_t below)
{
    m->state ^= m->state << 13;
    m->state ^= m->state >> 7;
    m->state ^= m->state << 17;
    return (m->state >> 11) % below;
}

static struct str content_bytes(uint32_t content, char room[120])
{
    int n = snprintf(room, 120, "Message-ID: <%u@x>\r\nSubject: s%u\r\nIn-Reply-To: <%u@x>\r\n\r\n%0*u\r\n", content, content % 5,
                     content / 2, (int)(content % 20) + 1, content);
    return str_make(room, (size_t)n);
}

static uint32_t content_size(uint32_t content)
{
    char room[120];
    return (uint32_t)content_bytes(content, room).n;
}

static struct box *box_named(struct model *m, const char *name)
{
    for (size_t i = 0; i < BOXES; i++)
        if (m->boxes[i].used && strcmp(m->boxes[i].name, name) == 0)
            return &m->boxes[i];
    return NULL;
}

static struct box *any_box(struct model *m)
{
    for (;;) {
        struct box *b = &m->boxes[any(m, BOXES)];
        if (b->used && b->selectable)
            return b;
    }
}

static bool is_below(const char *name, const char *above)
{
    size_t n = strlen(above);
    return strncmp(name, above, n) == 0 && name[n] == '/';
}

static bool has_children(struct model *m, const char *name)
{
    for (size_t i = 0; i < BOXES; i++)
        if (m->boxes[i].used && is_below(m->boxes[i].name, name))
            return true;
    return false;
}

static size_t free_boxes(struct model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < BOXES; i++)
        n += !m->boxes[i].used;
    return n;
}

static void any_name(struct model *m, char out[120])
{
    static const char *const words[] = {"a", "b", "c", "INBOX", "d\xc3\xa9", "z z"};
    size_t depth = 1 + any(m, 3);
    out[0] = 0;
    for (size_t i = 0; i < depth; i++) {
        if (i)
            strcat(out, "/");
        strcat(out, words[any(m, i ? 3 : 6)]);
    }
}

static struct mail *mail_at(struct box *b, uint32_t uid)
{
    for (size_t i = 0; i < b->count; i++)
        if (b->mails[i].uid == uid)
            return &b->mails[i];
    return NULL;
}

/* A modseq given out by the store must be higher than all before. */
static void advance(struct model *m, struct box *b, uint64_t modseq)
{
    assert_true(modseq > m->modseq);
    m->modseq = modseq;
    if (b)
        b->highest = modseq;
}

static void sub_set(struct model *m, const char *name, bool on)
{
    for (size_t i = 0; i < m->sub_count; i++)
        if (strcmp(m->subs[i], name) == 0) {
            if (!on)
                memcpy(m->subs[i], m->subs[--m->sub_count], 120);
            return;
        }
    if (on && m->sub_count < BOXES * 4)
        strcpy(m->subs[m->sub_count++], name);
}

static bool sub_has(struct model *m, const char *name)
{
    for (size_t i = 0; i < m->sub_count; i++)
        if (strcmp(m->subs[i], name) == 0)
            return true;
    return false;
}

/* ---- comparing ---- */

struct scan {
    struct model *m;
    struct box *b;
    struct mailbox_info info;
    size_t at;
};

static unsigned keywords_of(const struct mailbox_info *info, uint64_t bits)
{
    unsigned out = 0;
    for (unsigned i = 0; i < info->keyword_count; i++)
        for (unsigned k = 0; k < KEYWORDS && bits >> i & 1; k++)
            if (str_eq(info->keywords[i], str_of(keyword_names[k])))
                out |= 1u << k;
    return out;
}

static bool compare_entry(void *context, const struct message_entry *got)
{
    struct scan *s = context;
    assert_true(s->at < s->b->count);
    struct mail *want = &s->b->mails[s->at++];
    assert_int_equal(got->uid, want->uid);
    assert_int_equal(got->flags, want->flags);
    assert_int_equal(keywords_of(&s->info, got->keywords), want->keywords);
    assert_int_equal(got->modseq, want->modseq);
    assert_int_equal(got->internal_ms, want->internal_ms);
    assert_int_equal(got->size, content_size(want->content));
    assert_int_equal(got->email, want->email);
    return true;
}

static void compare_box(struct model *m, struct box *b)
{
    struct testing *t = m->t;
    struct scan s = {.m = m, .b = b};
    testing_info(t, b->name, &s.info);
    assert_int_equal(s.info.id, b->id);
    assert_int_equal(s.info.uidvalidity, b->uidvalidity);
    assert_int_equal(s.info.uidnext, b->uidnext);
    assert_int_equal(s.info.selectable, b->selectable);
    assert_int_equal(s.info.subscribed, b->subscribed);
    assert_int_equal(s.info.exists, b->count);
    if (!b->selectable)
        return;
    uint64_t size = 0, modseq;
    uint32_t unseen = 0, deleted = 0;
    for (size_t i = 0; i < b->count; i++) {
        unseen += !(b->mails[i].flags & MESSAGE_SEEN);
        deleted += (b->mails[i].flags & MESSAGE_DELETED) != 0;
        size += content_size(b->mails[i].content);
    }
    assert_int_equal(s.info.unseen, unseen);
    assert_int_equal(s.info.deleted, deleted);
    assert_int_equal(s.info.size_bytes, size);
    ok(message_scan(t->account, b->id, NULL, compare_entry, &s, &t->err), t);
    assert_int_equal(s.at, b->count);
    struct uidset uids;
    ok(mailbox_uids(t->account, b->id, &uids, &modseq, &t->err), t);
    assert_int_equal(uidset_count(&uids), b->count);
    for (size_t i = 0; i < b->count; i++)
        assert_true(uidset_has(&uids, b->mails[i].uid));
    assert_true(modseq >= b->highest); /* adding a keyword raises nothing that the model sees */
    uidset_release(&uids);
    arena_release(&t->arena);
}

static void compare_list(struct model *m)
{
    static struct testing_list list;
    testing_list(m->t, &list);
    size_t boxes = 0;
    for (size_t i = 0; i < list.count; i++) {
        struct box *b = box_named(m, list.names[i]);
        if (list.infos[i].id == 0)
            assert_true(!b && sub_has(m, list.names[i]));
        else
            assert_true(b && b->id == list.infos[i].id);
        boxes += b != NULL;
        assert_true(i > 0 || strcmp(list.names[0], "INBOX") == 0);
    }
    assert_int_equal(boxes, BOXES - free_boxes(m));
    assert_int_equal(list.count - boxes, m->sub_count);
}

static void compare_changes(struct model *m, struct box *b)
{
    struct testing *t = m->t;
    uint64_t since = m->modseq - any(m, m->modseq < 60 ? m->modseq : 60);
    struct mailbox_changes c;
    ok(mailbox_changes(t->account, b->id, since, &c, &t->err), t);
    size_t changed = 0, vanished = 0;
    for (size_t i = 0; i < b->count; i++) {
        bool want = b->mails[i].modseq > since;
        assert_int_equal(uidset_has(&c.changed, b->mails[i].uid), want);
        changed += want;
    }
    for (size_t i = 0; i < b->gone_count; i++) {
        bool want = !c.complete || b->gone[i].modseq > since;
        assert_int_equal(uidset_has(&c.vanished, b->gone[i].uid), want);
        vanished += want;
    }
    assert_int_equal(uidset_count(&c.changed), changed);
    assert_int_equal(uidset_count(&c.vanished), vanished);
    mailbox_changes_release(&c);
}

static void note_finding(void *context, const char *what)
{
    (void)context;
    print_message("fsck: %s\n", what);
}

static void check_fsck(struct model *m)
{
    struct fsck_result r;
    ok(store_fsck(m->t->store, false, any(m, 4) == 0, note_finding, NULL, &r, &m->t->err), m->t);
    assert_int_equal(r.findings, 0);
    assert_int_equal(r.accounts, 1);
}

/* ---- operations ---- */

static unsigned any_keywords(struct model *m, struct str names[KEYWORDS], size_t *count)
{
    unsigned bits = any(m, 3) == 0 ? (unsigned)any(m, 1 << KEYWORDS) : 0;
    *count = 0;
    for (unsigned k = 0; k < KEYWORDS; k++)
        if (bits >> k & 1)
            names[(*count)++] = str_of(keyword_names[k]);
    return bits;
}

static uint32_t any_uids(struct model *m, struct box *b, struct uidset *out)
{
    *out = UIDSET_EMPTY;
    uint32_t ranges = 1 + (uint32_t)any(m, 4);
    for (uint32_t i = 0; i < ranges; i++) {
        uint32_t first = 1 + (uint32_t)any(m, b->uidnext + 3);
        ok(uidset_add_range(out, first, first + (uint32_t)any(m, any(m, 4) ? 5 : 400)), m->t);
    }
    return ranges;
}

static void add_mail(struct box *b, const struct mail *mail)
{
    assert_true(b->count < MESSAGES);
    b->mails[b->count++] = *mail;
    b->uidnext = mail->uid + 1;
}

static void remove_mail(struct box *b, size_t at, uint64_t modseq)
{
    assert_true(b->gone_count < GONE);
    b->gone[b->gone_count].uid = b->mails[at].uid;
    b->gone[b->gone_count++].modseq = modseq;
    memmove(&b->mails[at], &b->mails[at + 1], (b->count - at - 1) * sizeof b->mails[0]);
    b->count--;
}

static void do_append(struct model *m)
{
    struct box *b = any_box(m);
    struct message_append list[8];
    struct str names[8][KEYWORDS];
    char bytes[8][120];
    struct mail mails[8];
    size_t n = 1 + any(m, any(m, 5) ? 3 : 8);
    if (b->count + n > MESSAGES)
        return;
    for (size_t i = 0; i < n; i++) {
        mails[i] = (struct mail){.flags = (uint32_t)any(m, 32),
                                 .content = m->content && any(m, 5) == 0 ? 1 + (uint32_t)any(m, m->content) : ++m->content,
                                 .internal_ms = 1 + (int64_t)any(m, 1000000)};
        list[i] = (struct message_append){.bytes = content_bytes(mails[i].content, bytes[i]),
                                          .flags = mails[i].flags,
                                          .keywords = names[i],
                                          .internal_ms = mails[i].internal_ms};
        mails[i].keywords = any_keywords(m, names[i], &list[i].keyword_count);
    }
    ok(message_append(m->t->account, b->id, list, n, &m->t->err), m->t);
    advance(m, b, list[0].modseq);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list[i].uid, b->uidnext);
        assert_int_equal(list[i].uidvalidity, b->uidvalidity);
        mails[i].uid = list[i].uid;
        mails[i].email = list[i].email;
        mails[i].modseq = list[i].modseq;
        add_mail(b, &mails[i]);
    }
}

static void do_deliver(struct model *m)
{
    char bytes[120], name[120];
    any_name(m, name);
    struct box *b = box_named(m, name);
    if (!b || !b->selectable)
        b = box_named(m, "INBOX");
    if (b->count == MESSAGES)
        return;
    struct deliver d = {.mailbox = str_of(name), .first = any(m, 2), .message = {.internal_ms = 5}};
    uint64_t key = any(m, UINT64_MAX);
    memcpy(d.key, &key, sizeof key);
    d.message.bytes = content_bytes(++m->content, bytes);
    ok(deliver_message(m->t->account, &d, &m->t->err), m->t);
    assert_int_equal(d.mailbox_id, b->id);
    assert_false(d.repeated);
    advance(m, b, d.message.modseq);
    add_mail(
        b,
        &(struct mail){
            .uid = d.message.uid, .content = m->content, .modseq = d.message.modseq, .email = d.message.email, .internal_ms = 5});
    uint32_t uid = d.message.uid;
    d.first = false;
    ok(deliver_message(m->t->account, &d, &m->t->err), m->t);
    assert_true(d.repeated);
    assert_int_equal(d.message.uid, uid);
}

static void do_store(struct model *m)
{
    struct testing *t = m->t;
    struct box *b = any_box(m);
    struct uidset uids;
    struct str names[KEYWORDS];
    size_t count;
    struct message_store c = {.mode = (enum message_store_mode)any(m, 3), .flags = (uint32_t)any(m, 32)};
    unsigned bits = any_keywords(m, names, &count);
    ok(mailbox_keywords(t->account, b->id, names, count, true, &c.keywords, &t->err), t);
    m->modseq = account_modseq(t->account); /* making keywords may have been a commit */
    any_uids(m, b, &uids);
    c.unchanged_since = any(m, 3) ? UINT64_MAX : m->modseq - any(m, 20);
    ok(message_store(t->account, b->id, &uids, &c, &t->err), t);
    size_t changed = 0, refused = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct mail *x = &b->mails[i];
        if (!uidset_has(&uids, x->uid))
            continue;
        uint32_t flags = c.mode == MESSAGE_STORE_SET   ? c.flags
                         : c.mode == MESSAGE_STORE_ADD ? x->flags | c.flags
                                                       : x->flags & ~c.flags;
        unsigned words = c.mode == MESSAGE_STORE_SET   ? bits
                         : c.mode == MESSAGE_STORE_ADD ? x->keywords | bits
                                                       : x->keywords & ~bits;
        bool refuse = x->modseq > c.unchanged_since;
        bool change = !refuse && (flags != x->flags || words != x->keywords);
        assert_int_equal(uidset_has(&c.refused, x->uid), refuse);
        assert_int_equal(uidset_has(&c.changed, x->uid), change);
        changed += change;
        refused += refuse;
        if (change) {
            x->flags = flags;
            x->keywords = words;
            x->modseq = c.modseq;
        }
    }
    assert_int_equal(uidset_count(&c.changed), changed);
    assert_int_equal(uidset_count(&c.refused), refused);
    if (changed)
        advance(m, b, c.modseq);
    else
        assert_int_equal(account_modseq(t->account), m->modseq);
    uidset_release(&uids);
    uidset_release(&c.changed);
    uidset_release(&c.refused);
}

static void do_copy(struct model *m)
{
    struct testing *t = m->t;
    struct box *from = any_box(m), *to = any_box(m);
    struct uidset uids;
    struct message_copy c = {.move = any(m, 2)};
    size_t n = 0, done = 0;
    any_uids(m, from, &uids);
    for (size_t i = 0; i < from->count; i++)
        n += uidset_has(&uids, from->mails[i].uid);
    if (to->count + n > MESSAGES || from->gone_count + n > GONE) {
        uidset_release(&uids);
        return;
    }
    ok(message_copy(t->account, from->id, to->id, &uids, &c, &t->err), t);
    assert_int_equal(uidset_count(&c.from_uids), n);
    assert_int_equal(uidset_count(&c.to_uids), n);
    assert_int_equal(c.uidvalidity, to->uidvalidity);
    if (n) {
        advance(m, to, c.modseq);
        if (c.move)
            from->highest = c.modseq;
    }
    for (size_t i = 0; done < n;) {
        struct mail x = from->mails[i];
        if (!uidset_has(&uids, x.uid) || !uidset_has(&c.from_uids, x.uid)) {
            i++;
            continue;
        }
        assert_int_equal(uidset_select(&c.from_uids, (uint32_t)done + 1), x.uid);
        if (c.move)
            remove_mail(from, i, c.modseq);
        else
            i++;
        x.uid = uidset_select(&c.to_uids, (uint32_t)done + 1);
        assert_int_equal(x.uid, to->uidnext);
        x.modseq = c.modseq;
        add_mail(to, &x);
        done++;
    }
    uidset_release(&uids);
    uidset_release(&c.from_uids);
    uidset_release(&c.to_uids);
}

static void do_expunge(struct model *m)
{
    struct testing *t = m->t;
    struct box *b = any_box(m);
    struct uidset uids, expunged;
    uint64_t modseq;
    any_uids(m, b, &uids);
    bool only_deleted = any(m, 3) != 0, all = any(m, 4) == 0 && only_deleted;
    if (b->gone_count + b->count > GONE) {
        uidset_release(&uids);
        return;
    }
    ok(message_expunge(t->account, b->id, all ? NULL : &uids, only_deleted, &expunged, &modseq, &t->err), t);
    size_t n = 0;
    for (size_t i = 0; i < b->count;) {
        struct mail *x = &b->mails[i];
        bool want = (all || uidset_has(&uids, x->uid)) && (!only_deleted || x->flags & MESSAGE_DELETED);
        assert_int_equal(uidset_has(&expunged, x->uid), want);
        n += want;
        if (want)
            remove_mail(b, i, modseq);
        else
            i++;
    }
    assert_int_equal(uidset_count(&expunged), n);
    if (n)
        advance(m, b, modseq);
    uidset_release(&uids);
    uidset_release(&expunged);
}

/* Takes a new mailbox of the store into the model. */
static void learn_box(struct model *m, const char *name)
{
    struct mailbox_info info;
    testing_info(m->t, name, &info);
    for (size_t i = 0; i < BOXES; i++) {
        struct box *b = &m->boxes[i];
        if (b->used)
            continue;
        memset(b, 0, sizeof *b);
        b->used = true;
        b->selectable = info.selectable;
        b->subscribed = info.subscribed;
        assert_int_equal(info.subscribed, sub_has(m, name) || info.role != MAILBOX_ROLE_NONE);
        sub_set(m, name, false);
        strcpy(b->name, name);
        b->id = info.id;
        b->uidvalidity = info.uidvalidity;
        b->uidnext = info.uidnext;
        b->highest = info.highest_modseq;
        assert_true(info.uidvalidity > m->uidvalidity);
        m->uidvalidity = info.uidvalidity;
        return;
    }
    fail();
}

static void learn_parents(struct model *m, const char *name)
{
    char part[120];
    strcpy(part, name);
    for (size_t i = 0; part[i]; i++)
        if (part[i] == '/') {
            part[i] = 0;
            if (!box_named(m, part))
                learn_box(m, part);
            part[i] = '/';
        }
}

static void do_create(struct model *m)
{
    char name[120];
    uint32_t id;
    any_name(m, name);
    if (free_boxes(m) < 4)
        return;
    struct box *b = box_named(m, name);
    enum st st = mailbox_create(m->t->account, str_of(name), MAILBOX_ROLE_NONE, &id, &m->t->err);
    assert_int_equal(st, b && b->selectable ? ST_EXISTS : ST_OK);
    if (st != ST_OK)
        return;
    m->modseq = account_modseq(m->t->account);
    if (b) {
        b->selectable = true;
        return;
    }
    learn_parents(m, name);
    learn_box(m, name);
    assert_int_equal(box_named(m, name)->id, id);
}

static void prune(struct model *m, const char *name)
{
    char part[120];
    strcpy(part, name);
    for (char *slash; (slash = strrchr(part, '/'));) {
        *slash = 0;
        struct box *b = box_named(m, part);
        if (!b || b->selectable || has_children(m, part))
            return;
        b->used = false;
    }
}

static void do_delete(struct model *m)
{
    char name[120];
    any_name(m, name);
    struct box *b = box_named(m, name);
    bool children = has_children(m, name), inbox = strcmp(name, "INBOX") == 0;
    enum st want = inbox ? ST_DENIED : !b ? ST_NOTFOUND : !b->selectable && children ? ST_DENIED : ST_OK;
    assert_int_equal(mailbox_delete(m->t->account, str_of(name), &m->t->err), want);
    if (want != ST_OK)
        return;
    m->modseq = account_modseq(m->t->account);
    bool subscribed = b->subscribed;
    b->used = false;
    sub_set(m, name, subscribed);
    if (children)
        learn_box(m, name);
    else
        prune(m, name);
}

static void do_rename(struct model *m)
{
    char from[120], to[120], full[300];
    any_name(m, from);
    any_name(m, to);
    struct box *b = box_named(m, from);
    bool inbox = strcmp(from, "INBOX") == 0;
    if (free_boxes(m) < 4)
        return;
    enum st want = !b ? ST_NOTFOUND : box_named(m, to) ? ST_EXISTS : is_below(to, from) && !inbox ? ST_PERM : ST_OK;
    assert_int_equal(mailbox_rename(m->t->account, str_of(from), str_of(to), &m->t->err), want);
    if (want != ST_OK)
        return;
    m->modseq = account_modseq(m->t->account);
    if (inbox) {
        learn_parents(m, to);
        learn_box(m, to);
        struct box *new = box_named(m, to);
        new->uidnext = 1;
        while (b->count) {
            struct mail x = b->mails[0];
            remove_mail(b, 0, m->modseq);
            x.uid = new->uidnext;
            x.modseq = m->modseq;
            add_mail(new, &x);
        }
        return;
    }
    learn_parents(m, to);
    for (size_t i = 0; i < BOXES; i++) {
        struct box *x = &m->boxes[i];
        if (!x->used || (x != b && !is_below(x->name, from)))
            continue;
        snprintf(full, sizeof full, "%s%s", to, x->name + strlen(from));
        memcpy(x->name, full, 119);
        x->subscribed |= sub_has(m, x->name);
        sub_set(m, x->name, false);
    }
    prune(m, from);
}

static void do_subscribe(struct model *m)
{
    char name[120];
    bool on = any(m, 2);
    any_name(m, name);
    struct box *b = box_named(m, name);
    if (m->sub_count > 60)
        on = false;
    ok(mailbox_subscribe(m->t->account, str_of(name), on, &m->t->err), m->t);
    m->modseq = account_modseq(m->t->account);
    if (b)
        b->subscribed = on;
    else
        sub_set(m, name, on);
}

static void do_care(struct model *m)
{
    bool more;
    ok(account_care(m->t->account, &more, &m->t->err), m->t);
    if (any(m, 4) == 0)
        ok(store_care(m->t->store, &m->t->err), m->t);
    m->modseq = account_modseq(m->t->account);
}

static void do_read(struct model *m)
{
    struct testing *t = m->t;
    struct box *b = any_box(m);
    if (b->count == 0)
        return;
    struct mail *x = mail_at(b, b->mails[any(m, b->count)].uid);
    char want[120];
    DEFER(buf_release) struct buf got = BUF_INIT(1000);
    ok(message_read(t->account, x->email, 0, 1000, &got, &t->err), t);
    assert_true(str_eq(buf_str(&got), content_bytes(x->content, want)));
}

static void run_model(struct testing *t, uint64_t seed)
{
    static void (*const operations[])(struct model *) = {do_append, do_append, do_append, do_deliver,  do_store, do_store,
                                                         do_store,  do_copy,   do_copy,   do_expunge,  do_care,  do_create,
                                                         do_delete, do_rename, do_read,   do_subscribe};
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->t = t;
    m->state = seed * 0x9e3779b97f4a7c15u + 1;
    static const char *const first[] = {"INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive"};
    for (size_t i = 0; i < 6; i++)
        learn_box(m, first[i]);
    m->modseq = account_modseq(t->account);
    for (int i = 0; i < OPERATIONS; i++) {
        operations[any(m, sizeof operations / sizeof operations[0])](m);
        struct box *b = any_box(m);
        compare_box(m, b);
        compare_changes(m, b);
        if (i % 10 == 0)
            compare_list(m);
        if (i % 60 == 0)
            check_fsck(m);
        if (i % 100 == 50)
            testing_reopen(t);
    }
    for (size_t i = 0; i < BOXES; i++)
        if (m->boxes[i].used)
            compare_box(m, &m->boxes[i]);
    check_fsck(m);
    free(m);
}

static void agrees_with_the_model(void **state)
{
    const char *seed = getenv("SEED");
    run_model(*state, seed ? strtoull(seed, NULL, 10) : 1);
}
static void agrees_with_another_seed(void **state) { run_model(*state, 77); }
static void agrees_with_a_short_journal(void **state)
{
    struct testing *t = *state;
    t->config.journal_max_changes = 20;
    testing_reopen(t);
    run_model(t, 5);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, testing_setup, testing_teardown)
    const struct CMUnitTest tests[] = {T(agrees_with_the_model), T(agrees_with_another_seed), T(agrees_with_a_short_journal)};
    return testing_run("store/model", tests, sizeof tests / sizeof tests[0]);
}
