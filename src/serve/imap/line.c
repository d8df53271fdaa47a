#include "serve/imap/line.h"

#include "format/date.h"

void line_init(struct line_writer *w, struct imap_session *s)
{
    struct err e = {0};
    w->s = s;
    w->info = imap_selected_info(s, false, &e);
    w->mapped = false;
    w->has_recent = !uidset_empty(&s->selected.recent);
    w->day = INT64_MIN;
    for (size_t i = 0; i < sizeof w->flags / sizeof *w->flags; i++)
        w->flags[i].n = 0;
}

/* ---- sequence numbers ---- */

/* Begins with the run that has uid; the rank is asked for once, then runs are counted on. */
static void map_begin(struct line_writer *w, uint32_t uid)
{
    const struct uidset *uids = &w->s->selected.uids;
    w->at = uid;
    w->mapped = uidset_next_run(uids, &w->at, &w->first, &w->last);
    w->before = w->mapped ? uidset_rank(uids, w->first) - 1 : 0;
}

uint32_t line_sequence(struct line_writer *w, uint32_t uid)
{
    if (!w->mapped || uid < w->first)
        map_begin(w, uid);
    while (w->mapped && uid > w->last) {
        w->before += w->last - w->first + 1;
        w->mapped = uidset_next_run(&w->s->selected.uids, &w->at, &w->first, &w->last);
    }
    return w->mapped && uid >= w->first ? w->before + (uid - w->first) + 1 : 0;
}

/* ---- pieces ---- */

char *line_number(char *to, uint64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
                                "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
                                "9899";
    char digits[LINE_NUMBER_MAX];
    size_t at = sizeof digits;
    while (v >= 100) {
        const char *pair = pairs + v % 100 * 2;
        v /= 100;
        digits[--at] = pair[1];
        digits[--at] = pair[0];
    }
    if (v >= 10) {
        digits[--at] = pairs[v * 2 + 1];
        digits[--at] = pairs[v * 2];
    } else {
        digits[--at] = (char)('0' + v);
    }
    memcpy(to, digits + at, sizeof digits - at);
    return to + (sizeof digits - at);
}

static char *word(char *to, bool *first, struct str s)
{
    if (!*first)
        *to++ = ' ';
    *first = false;
    return line_str(to, s);
}

/* "FLAGS (\Seen \Recent" */
static void make_flags(struct line_flags *f, unsigned flags, bool recent)
{
    static const struct {
        uint32_t bit;
        struct str name;
    } names[] = {{MESSAGE_ANSWERED, {"\\Answered", 9}},
                 {MESSAGE_FLAGGED, {"\\Flagged", 8}},
                 {MESSAGE_DELETED, {"\\Deleted", 8}},
                 {MESSAGE_SEEN, {"\\Seen", 5}},
                 {MESSAGE_DRAFT, {"\\Draft", 6}}};
    bool first = true;
    char *to = line_str(f->text, STR("FLAGS ("));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (flags & names[i].bit)
            to = word(to, &first, names[i].name);
    if (recent)
        to = word(to, &first, STR("\\Recent"));
    f->n = (uint8_t)(to - f->text);
}

/* Does the message have a keyword that was made after the names were read? */
static bool names_missing(const struct line_writer *w, const struct message_entry *m)
{
    return m->keywords && w->info && w->info->keyword_count < MAILBOX_KEYWORDS_MAX && m->keywords >> w->info->keyword_count;
}

static char *keywords(const struct line_writer *w, char *to, uint64_t bits, bool first)
{
    for (unsigned i = 0; w->info && i < w->info->keyword_count; i++)
        if ((bits >> i & 1) && w->info->keywords[i].n <= MAILBOX_KEYWORD_LENGTH_MAX)
            to = word(to, &first, w->info->keywords[i]);
    return to;
}

char *line_flags(struct line_writer *w, char *to, const struct message_entry *m)
{
    enum { SYSTEM = MESSAGE_SEEN | MESSAGE_ANSWERED | MESSAGE_FLAGGED | MESSAGE_DELETED | MESSAGE_DRAFT, RECENT = SYSTEM + 1 };
    unsigned flags = m->flags & SYSTEM;
    bool recent = w->has_recent && uidset_has(&w->s->selected.recent, m->uid);
    struct line_flags *f = &w->flags[flags | (recent ? RECENT : 0)];
    if (!f->n)
        make_flags(f, flags, recent);
    to = line_str(to, str_make(f->text, f->n));
    if (m->keywords)
        to = keywords(w, to, m->keywords, !flags && !recent);
    *to++ = ')';
    return to;
}

static char *two(char *to, unsigned v)
{
    to[0] = (char)('0' + v / 10);
    to[1] = (char)('0' + v % 10);
    return to + 2;
}

/* "17-Jul-1996 " */
static void make_day(struct line_writer *w, int64_t epoch_s)
{
    char room[40];
    struct buf text = {room, 0, sizeof room - 1, sizeof room - 1, false};
    struct date d = {.epoch_s = epoch_s};
    date_print_imap(&d, &text);
    memcpy(w->date, room, sizeof w->date);
}

char *line_date(struct line_writer *w, char *to, int64_t epoch_s)
{
    int64_t day = epoch_s / 86400, second = epoch_s % 86400;
    if (second < 0) {
        day--;
        second += 86400;
    }
    if (day != w->day)
        make_day(w, epoch_s);
    w->day = day;
    *to++ = '"';
    to = line_str(to, str_make(w->date, sizeof w->date));
    to = two(to, (unsigned)(second / 3600));
    *to++ = ':';
    to = two(to, (unsigned)(second / 60 % 60));
    *to++ = ':';
    to = two(to, (unsigned)(second % 60));
    return line_str(to, STR(" +0000\""));
}

/* ---- lines ---- */

void line_fetch(struct line_writer *w, const struct message_entry *m, bool flags, bool modseq)
{
    uint32_t sequence = line_sequence(w, m->uid);
    char *from = sequence ? buf_reserve(w->s->out, LINE_MAX) : NULL;
    if (!from)
        return;
    char *to = line_str(from, STR("* "));
    to = line_number(to, sequence);
    to = line_str(to, STR(" FETCH (UID "));
    to = line_number(to, m->uid);
    if (flags) {
        *to++ = ' ';
        to = line_flags(w, to, m);
    }
    if (modseq) {
        to = line_str(to, STR(" MODSEQ ("));
        to = line_number(to, m->modseq);
        *to++ = ')';
    }
    to = line_str(to, STR(")\r\n"));
    buf_grew(w->s->out, (size_t)(to - from));
}

/* ---- walking ---- */

struct walk {
    struct line_writer *w;
    line_print *print;
    void *context;
    uint64_t count;
    uint32_t last; /* UID that was printed; 0: none yet */
    bool full, may_ask, ask_names;
};

static bool visit(void *context, const struct message_entry *m)
{
    struct walk *v = context;
    v->full = !imap_room(v->w->s);
    if (v->full)
        return false;
    v->ask_names = v->may_ask && names_missing(v->w, m);
    if (v->ask_names)
        return false; /* the store is not asked from inside of a walk */
    v->print(v->context, v->w, m);
    v->last = m->uid;
    v->count++;
    return true;
}

enum imap_next line_put_all(struct line_writer *w, struct uidset *left, line_print *print, void *context, uint64_t *count,
                            struct err *e)
{
    struct imap_session *s = w->s;
    bool may_ask = true; /* once in a call */
    while (!uidset_empty(left)) {
        struct walk v = {.w = w, .print = print, .context = context, .may_ask = may_ask};
        if (message_scan(s->account, s->selected.id, left, visit, &v, e) != ST_OK)
            return IMAP_DONE;
        *count += v.count;
        if (v.last)
            uidset_remove_range(left, 0, v.last);
        if (v.full)
            return IMAP_MORE;
        may_ask = false;
        if (!v.ask_names)
            uidset_release(left);
        else if (!(w->info = imap_selected_info(s, true, e)))
            return IMAP_DONE;
    }
    return IMAP_DONE;
}
