/* LIST (RFC 9051 6.3.9, 5258, 5819, 6154) and LSUB (RFC 3501 6.3.9). The names are read once, with what is asked about the
 * mailboxes below each; the answer is a cursor over them. */
#include <stdlib.h>

#include "base/check.h"
#include "serve/imap/cmd_status.h"
#include "serve/imap/mailbox_name.h"

enum { LIST_BYTES_MAX = 64 << 20 };

struct entry {
    struct str name; /* in the arena */
    uint32_t id;     /* 0: does not exist: subscribed only, or a level above one that is */
    uint16_t role;
    bool subscribed, selectable;
    uint32_t real_before, subscribed_before, special_before; /* how many of the entries before this one are that */
};

struct list {
    struct imap_session *s;
    struct imap_list args;
    bool lsub;
    struct buf entries; /* of struct entry, in hierarchical order */
    struct entry total; /* its _before counts are those of all */
    size_t at;
    bool full;
};

static size_t count(const struct list *l) { return l->entries.n / sizeof(struct entry); }
static const struct entry *entry(const struct list *l, size_t i)
{
    return i < count(l) ? (const struct entry *)(const void *)l->entries.p + i : &l->total;
}

static void release(void *state) { buf_release(&((struct list *)state)->entries); }

/* ---- reading ---- */

static bool is_special(const struct entry *e) { return imap_role_name((enum mailbox_role)e->role) != NULL; }

static void add(struct list *l, struct entry e)
{
    e.real_before = l->total.real_before;
    e.subscribed_before = l->total.subscribed_before;
    e.special_before = l->total.special_before;
    l->total.real_before += e.id != 0;
    l->total.subscribed_before += e.subscribed;
    l->total.special_before += is_special(&e);
    buf_add(&l->entries, str_make(&e, sizeof e));
}

static bool is_below(struct str name, struct str above)
{
    return name.n > above.n && name.p[above.n] == '/' && str_starts(name, above);
}

/* Levels above the name that nothing stands for (only possible for subscribed names that do not exist). */
static void add_levels(struct list *l, struct str name)
{
    for (size_t i = 1; i < name.n; i++) {
        if (name.p[i] != '/')
            continue;
        struct str level = str_upto(name, i), last = count(l) ? entry(l, count(l) - 1)->name : STR_NONE;
        if (!str_eq(last, level) && !is_below(last, level))
            add(l, (struct entry){.name = level});
    }
}

static bool visit(void *context, const struct mailbox_info *info)
{
    struct list *l = context;
    struct imap_session *s = l->s;
    if (info->id && !access_allowed(&s->who, ACCESS_LOOKUP, account_id_of(s->account), info->id))
        return true;
    struct str name = arena_str(&s->arena, info->name);
    if (!name.p || !buf_ok(&l->entries)) {
        l->full = true;
        return false;
    }
    add_levels(l, name);
    add(l, (struct entry){.name = name,
                          .id = info->id,
                          .role = (uint16_t)info->role,
                          .subscribed = info->subscribed,
                          .selectable = info->selectable});
    return true;
}

/* Index behind the last entry below entry i. */
static size_t below_end(const struct list *l, size_t i)
{
    struct str name = entry(l, i)->name;
    size_t from = i + 1, to = count(l);
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (is_below(entry(l, middle)->name, name))
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* ---- choosing ---- */

static bool matches(const struct list *l, struct str name)
{
    for (size_t i = 0; i < l->args.pattern_count; i++) {
        struct str pattern = l->args.patterns[i];
        if (imap_pattern_match(pattern, name, '/'))
            return true;
    }
    return false;
}

static bool selected(const struct list *l, const struct entry *e)
{
    unsigned how = l->args.select;
    if ((how & IMAP_LIST_SUBSCRIBED) && !e->subscribed)
        return false;
    if ((how & IMAP_LIST_SPECIAL_USE) && !is_special(e))
        return false;
    return e->id || (how & IMAP_LIST_SUBSCRIBED);
}

static bool selected_below(const struct list *l, size_t i, size_t end)
{
    const struct entry *from = entry(l, i + 1), *to = entry(l, end);
    unsigned how = l->args.select & (IMAP_LIST_SUBSCRIBED | IMAP_LIST_SPECIAL_USE);
    if (how == IMAP_LIST_SUBSCRIBED)
        return to->subscribed_before > from->subscribed_before;
    if (how == IMAP_LIST_SPECIAL_USE)
        return to->special_before > from->special_before;
    for (size_t k = i + 1; how && k < end; k++) /* both, which is rare */
        if (selected(l, entry(l, k)))
            return true;
    return false;
}

static bool has_percent(const struct list *l)
{
    for (size_t i = 0; i < l->args.pattern_count; i++)
        if (str_find_char(l->args.patterns[i], '%') != STR_NPOS)
            return true;
    return false;
}

/* ---- telling ---- */

static void put_attribute(struct imap_session *s, const char **before, const char *name)
{
    imap_putf(s, "%s%s", *before, name);
    *before = " ";
}

static void put_attributes(struct list *l, const struct entry *e, bool children)
{
    struct imap_session *s = l->s;
    const char *before = "";
    bool show_subscribed = (l->args.select & IMAP_LIST_SUBSCRIBED) || (l->args.returns & IMAP_LIST_RETURN_SUBSCRIBED);
    const char *role = imap_role_name((enum mailbox_role)e->role);
    if (!e->id)
        put_attribute(s, &before, "\\NonExistent");
    else if (!e->selectable)
        put_attribute(s, &before, "\\Noselect");
    if (e->subscribed && show_subscribed)
        put_attribute(s, &before, "\\Subscribed");
    put_attribute(s, &before, children ? "\\HasChildren" : "\\HasNoChildren");
    if (role)
        put_attribute(s, &before, role);
}

static void put_child_info(struct list *l)
{
    struct imap_session *s = l->s;
    const char *before = " (\"CHILDINFO\" (";
    if (l->args.select & IMAP_LIST_SUBSCRIBED) {
        imap_putf(s, "%s\"SUBSCRIBED\"", before);
        before = " ";
    }
    if (l->args.select & IMAP_LIST_SPECIAL_USE)
        imap_putf(s, "%s\"SPECIAL-USE\"", before);
    imap_put(s, STR("))"));
}

static void put_status(struct list *l, const struct entry *e)
{
    struct imap_session *s = l->s;
    struct arena arena = ARENA_INIT(1 << 20);
    struct mailbox_info info;
    struct err err = {0};
    bool may = access_allowed(&s->who, ACCESS_READ, account_id_of(s->account), e->id);
    if (may && mailbox_find_id(s->account, e->id, &arena, &info, &err) == ST_OK)
        imap_put_status(s, e->name, &info, l->args.status);
    arena_release(&arena);
}

static void put_entry(struct list *l, const struct entry *e, bool children, bool child_info)
{
    struct imap_session *s = l->s;
    imap_put(s, STR("* LIST ("));
    put_attributes(l, e, children);
    imap_put(s, STR(") \"/\" "));
    imap_put_mailbox(s, e->name);
    if (child_info)
        put_child_info(l);
    imap_put(s, STR("\r\n"));
    if ((l->args.returns & IMAP_LIST_RETURN_STATUS) && e->id && e->selectable)
        put_status(l, e); /* RFC 5819 2 */
}

static void tell_list(struct list *l, size_t i)
{
    const struct entry *e = entry(l, i);
    if (!matches(l, e->name))
        return;
    size_t end = below_end(l, i);
    bool child_info = (l->args.select & IMAP_LIST_RECURSIVEMATCH) && selected_below(l, i, end);
    if (selected(l, e) || child_info)
        put_entry(l, e, entry(l, end)->real_before > entry(l, i + 1)->real_before, child_info);
}

/* RFC 3501 6.3.9: a level above subscribed names is told as \Noselect when '%' keeps those out. */
static void tell_lsub(struct list *l, size_t i)
{
    struct imap_session *s = l->s;
    const struct entry *e = entry(l, i);
    if (!matches(l, e->name))
        return;
    bool above =
        !e->subscribed && has_percent(l) && entry(l, below_end(l, i))->subscribed_before > entry(l, i + 1)->subscribed_before;
    if (!e->subscribed && !above)
        return;
    imap_put(s, above || !e->id || !e->selectable ? STR("* LSUB (\\Noselect) \"/\" ") : STR("* LSUB () \"/\" "));
    imap_put_mailbox(s, e->name);
    imap_put(s, STR("\r\n"));
}

static enum imap_next resume(struct imap_session *s, struct imap_command *c)
{
    struct list *l = c->state;
    for (; l->at < count(l); l->at++) {
        if (!imap_room(s))
            return IMAP_MORE;
        if (l->lsub)
            tell_lsub(l, l->at);
        else
            tell_list(l, l->at);
    }
    return imap_ok(s, NULL, "%s completed", c->verb->name);
}

/* ---- the commands ---- */

/* The reference stands in front of each pattern (RFC 9051 6.3.9); "inbox" means INBOX in any case. */
static bool interpret(struct imap_session *s, struct imap_list *args)
{
    for (size_t i = 0; i < args->pattern_count; i++) {
        struct str p = args->patterns[i];
        if (args->reference.n)
            p = arena_printf(&s->arena, "%.*s%.*s", STR_FMT(args->reference), STR_FMT(p));
        char *copy = p.p ? arena_z(&s->arena, p) : NULL;
        if (!copy)
            return false;
        if (str_starts_nocase(p, STR("INBOX")) && (p.n == 5 || p.p[5] == '/' || p.p[5] == '%' || p.p[5] == '*'))
            for (size_t k = 0; k < 5; k++)
                copy[k] = ascii_upper(copy[k]);
        args->patterns[i] = (struct str){copy, p.n};
    }
    return true;
}

static enum imap_next begin(struct imap_session *s, struct imap_command *c, struct list *l)
{
    struct err e = {0};
    if (!interpret(s, &l->args))
        return imap_no(s, "LIMIT", "Out of memory");
    if (imap_access(s, ACCESS_LOOKUP, 0, &e) != ST_OK)
        return imap_fail(s, &e);
    l->s = s;
    buf_init(&l->entries, LIST_BYTES_MAX);
    c->state = l;
    c->release = release;
    c->resume = resume;
    if (mailbox_list(s->account, visit, l, &e) != ST_OK)
        return imap_fail(s, &e);
    if (l->full)
        return imap_no(s, "LIMIT", "There are too many mailboxes to list at once");
    if (l->args.status & IMAP_STATUS_HIGHESTMODSEQ)
        imap_condstore_enable(s); /* RFC 7162 3.1 */
    return resume(s, c);
}

enum imap_next imap_cmd_list(struct imap_session *s, struct imap_command *c)
{
    struct list *l = ARENA_NEW(&s->arena, struct list);
    if (!l)
        return imap_no(s, "LIMIT", "Out of memory");
    if (!imap_parse_list(&c->args, &l->args))
        return imap_bad_args(s, c);
    if (!l->args.extended && l->args.patterns[0].n == 0) { /* RFC 9051 6.3.9: asks for the separator and the root */
        imap_put(s, STR("* LIST (\\Noselect) \"/\" \"\"\r\n"));
        return imap_ok(s, NULL, "LIST completed");
    }
    return begin(s, c, l);
}

enum imap_next imap_cmd_lsub(struct imap_session *s, struct imap_command *c)
{
    struct list *l = ARENA_NEW(&s->arena, struct list);
    if (!l)
        return imap_no(s, "LIMIT", "Out of memory");
    l->lsub = true;
    if (!imap_parse_list(&c->args, &l->args))
        return imap_bad_args(s, c);
    if (l->args.extended)
        return imap_bad(s, "LSUB knows no options");
    return begin(s, c, l);
}
