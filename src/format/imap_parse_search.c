/* SEARCH: the program as a tree. */
#include "format/imap_parse.h"

static bool is_key_char(char c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; }

/* What a key is followed by. */
enum argument {
    NOTHING,
    FLAG,   /* nothing; the flag is in the table */
    UNFLAG, /* the same, negated */
    DAY,
    NUMBER,
    INTERVAL, /* a number from 1 */
    TEXT,
    FIELD, /* text; the header field is in the table */
    NAMED, /* name, text */
    WORD,  /* an atom: keyword */
    UNWORD,
    IDENT, /* an atom or in parentheses */
    UIDS,
    MODSEQ,
};
struct key_word {
    const char *word;
    enum imap_search_kind kind;
    enum argument argument;
    uint32_t flag;
    const char *field;
};
static const struct key_word key_words[] = {
    {"ALL", IMAP_SEARCH_ALL, NOTHING, 0, NULL},
    {"ANSWERED", IMAP_SEARCH_FLAG, FLAG, IMAP_FLAG_ANSWERED, NULL},
    {"BCC", IMAP_SEARCH_HEADER, FIELD, 0, "Bcc"},
    {"BEFORE", IMAP_SEARCH_BEFORE, DAY, 0, NULL},
    {"BODY", IMAP_SEARCH_BODY, TEXT, 0, NULL},
    {"CC", IMAP_SEARCH_HEADER, FIELD, 0, "Cc"},
    {"DELETED", IMAP_SEARCH_FLAG, FLAG, IMAP_FLAG_DELETED, NULL},
    {"DRAFT", IMAP_SEARCH_FLAG, FLAG, IMAP_FLAG_DRAFT, NULL},
    {"EMAILID", IMAP_SEARCH_EMAILID, IDENT, 0, NULL},
    {"FLAGGED", IMAP_SEARCH_FLAG, FLAG, IMAP_FLAG_FLAGGED, NULL},
    {"FROM", IMAP_SEARCH_HEADER, FIELD, 0, "From"},
    {"HEADER", IMAP_SEARCH_HEADER, NAMED, 0, NULL},
    {"KEYWORD", IMAP_SEARCH_KEYWORD, WORD, 0, NULL},
    {"LARGER", IMAP_SEARCH_LARGER, NUMBER, 0, NULL},
    {"MODSEQ", IMAP_SEARCH_MODSEQ, MODSEQ, 0, NULL},
    {"OLDER", IMAP_SEARCH_OLDER, INTERVAL, 0, NULL},
    {"ON", IMAP_SEARCH_ON, DAY, 0, NULL},
    {"RECENT", IMAP_SEARCH_RECENT, NOTHING, 0, NULL},
    {"SAVEDBEFORE", IMAP_SEARCH_SAVEDBEFORE, DAY, 0, NULL},
    {"SAVEDATESUPPORTED", IMAP_SEARCH_SAVEDATESUPPORTED, NOTHING, 0, NULL},
    {"SAVEDON", IMAP_SEARCH_SAVEDON, DAY, 0, NULL},
    {"SAVEDSINCE", IMAP_SEARCH_SAVEDSINCE, DAY, 0, NULL},
    {"SEEN", IMAP_SEARCH_FLAG, FLAG, IMAP_FLAG_SEEN, NULL},
    {"SENTBEFORE", IMAP_SEARCH_SENTBEFORE, DAY, 0, NULL},
    {"SENTON", IMAP_SEARCH_SENTON, DAY, 0, NULL},
    {"SENTSINCE", IMAP_SEARCH_SENTSINCE, DAY, 0, NULL},
    {"SINCE", IMAP_SEARCH_SINCE, DAY, 0, NULL},
    {"SMALLER", IMAP_SEARCH_SMALLER, NUMBER, 0, NULL},
    {"SUBJECT", IMAP_SEARCH_HEADER, FIELD, 0, "Subject"},
    {"TEXT", IMAP_SEARCH_TEXT, TEXT, 0, NULL},
    {"THREADID", IMAP_SEARCH_THREADID, IDENT, 0, NULL},
    {"TO", IMAP_SEARCH_HEADER, FIELD, 0, "To"},
    {"UID", IMAP_SEARCH_UID, UIDS, 0, NULL},
    {"UNANSWERED", IMAP_SEARCH_FLAG, UNFLAG, IMAP_FLAG_ANSWERED, NULL},
    {"UNDELETED", IMAP_SEARCH_FLAG, UNFLAG, IMAP_FLAG_DELETED, NULL},
    {"UNDRAFT", IMAP_SEARCH_FLAG, UNFLAG, IMAP_FLAG_DRAFT, NULL},
    {"UNFLAGGED", IMAP_SEARCH_FLAG, UNFLAG, IMAP_FLAG_FLAGGED, NULL},
    {"UNKEYWORD", IMAP_SEARCH_KEYWORD, UNWORD, 0, NULL},
    {"UNSEEN", IMAP_SEARCH_FLAG, UNFLAG, IMAP_FLAG_SEEN, NULL},
    {"YOUNGER", IMAP_SEARCH_YOUNGER, INTERVAL, 0, NULL},
};

struct program { /* while it is read */
    struct imap_args *a;
    struct imap_search *search;
    size_t keys;
};

static struct imap_search_key *new_key(struct program *p, enum imap_search_kind kind)
{
    struct imap_search_key *k = p->keys++ < IMAP_PARSE_KEYS_MAX ? ARENA_NEW(p->a->arena, struct imap_search_key) : NULL;
    if (!k) {
        imap_args_fail(p->a, "a shorter search program");
        return NULL;
    }
    k->kind = kind;
    return k;
}

static struct imap_search_key *negated(struct program *p, struct imap_search_key *k)
{
    struct imap_search_key *not = k ? new_key(p, IMAP_SEARCH_NOT) : NULL;
    if (not )
        not ->child = k;
    return not ;
}

/* "MODSEQ" [SP entry-name SP entry-type] SP number: our only mod-sequence is that of the message, so the entry does not matter
 * (RFC 7162 3.1.5). */
static bool modseq(struct imap_args *a, struct imap_search_key *k)
{
    struct str entry;
    if (imap_peek_is(a, '"')) {
        if (!imap_parse_string(a, &entry) || !imap_parse_space(a))
            return false;
        if (!imap_accept_word(a, "all") && !imap_accept_word(a, "priv") && !imap_accept_word(a, "shared"))
            return imap_args_fail(a, "all, priv or shared");
        if (!str_starts_nocase(entry, STR("/flags/")))
            return imap_args_fail(a, "an entry like \"/flags/\\\\seen\"");
        if (!imap_parse_space(a))
            return false;
    }
    return imap_parse_number64(a, &k->number);
}

static bool key_argument(struct program *p, const struct key_word *w, struct imap_search_key *k)
{
    struct imap_args *a = p->a;
    uint32_t n = 0;
    k->flag = w->flag;
    if (w->field)
        k->name = str_of(w->field);
    if (w->argument == NOTHING || w->argument == FLAG || w->argument == UNFLAG)
        return true;
    if (!imap_parse_space(a))
        return false;
    switch (w->argument) {
    case NOTHING:
    case FLAG:
    case UNFLAG:
        return true;
    case DAY:
        return imap_parse_date(a, &k->day);
    case NUMBER:
        return imap_parse_number64(a, &k->number);
    case INTERVAL:
        imap_parse_nz_number(a, &n);
        k->number = n;
        return imap_args_ok(a);
    case TEXT:
    case FIELD:
        return imap_parse_astring(a, &k->text);
    case NAMED:
        return imap_parse_astring(a, &k->name) && imap_parse_space(a) && imap_parse_astring(a, &k->text);
    case WORD:
    case UNWORD:
        return imap_parse_atom(a, &k->text);
    case IDENT:
        return imap_parse_astring(a, &k->text);
    case UIDS:
        return imap_parse_set(a, &k->set);
    case MODSEQ:
        p->search->uses_modseq = true;
        return modseq(a, k);
    }
    return false;
}

static struct imap_search_key *table_key(struct program *p, struct str word)
{
    for (size_t i = 0; i < sizeof key_words / sizeof *key_words; i++) {
        const struct key_word *w = &key_words[i];
        if (!str_eq_nocase(word, str_of(w->word)))
            continue;
        struct imap_search_key *k = new_key(p, w->kind);
        if (!k || !key_argument(p, w, k))
            return NULL;
        return w->argument == UNFLAG || w->argument == UNWORD ? negated(p, k) : k;
    }
    imap_args_fail(p->a, "a known search key");
    return NULL;
}

/* RFC 3501: NEW is RECENT UNSEEN, OLD is NOT RECENT. */
static struct imap_search_key *recent_key(struct program *p, bool old)
{
    struct imap_search_key *recent = new_key(p, IMAP_SEARCH_RECENT);
    if (!recent || old)
        return negated(p, recent);
    struct imap_search_key *seen = new_key(p, IMAP_SEARCH_FLAG), *both = new_key(p, IMAP_SEARCH_AND);
    if (!seen || !both)
        return NULL;
    seen->flag = IMAP_FLAG_SEEN;
    recent->next = negated(p, seen);
    both->child = recent;
    return recent->next ? both : NULL;
}

static struct imap_search_key *key(struct program *p);

static struct imap_search_key *set_key(struct program *p)
{
    struct imap_search_key *k = new_key(p, IMAP_SEARCH_SEQUENCE);
    if (!k || !imap_parse_set(p->a, &k->set))
        return NULL;
    p->search->uses_sequence = p->search->uses_sequence || !k->set.saved;
    return k;
}

static struct imap_search_key *or_key(struct program *p)
{
    struct imap_search_key *k = new_key(p, IMAP_SEARCH_OR);
    if (!k || !imap_parse_space(p->a) || !(k->child = key(p)) || !imap_parse_space(p->a) || !(k->child->next = key(p)))
        return NULL;
    return k;
}

/* Keys up to the end or ")". */
static struct imap_search_key *all_of(struct program *p)
{
    struct imap_search_key *k = new_key(p, IMAP_SEARCH_AND), **tail = k ? &k->child : NULL;
    if (!k)
        return NULL;
    do {
        *tail = key(p);
        if (!*tail)
            return NULL;
        tail = &(*tail)->next;
    } while (imap_accept(p->a, ' '));
    return k;
}

static struct imap_search_key *compound(struct program *p)
{
    struct imap_args *a = p->a;
    if (imap_accept(a, '(')) {
        struct imap_search_key *k = all_of(p);
        return k && imap_parse_char(a, ')') ? k : NULL;
    }
    int c = rd_peek(&a->rd);
    if ((c >= '0' && c <= '9') || c == '*' || c == '$')
        return set_key(p);
    struct str word = rd_while(&a->rd, is_key_char);
    if (str_eq_nocase(word, STR("NOT")))
        return imap_parse_space(a) ? negated(p, key(p)) : NULL;
    if (str_eq_nocase(word, STR("OR")))
        return or_key(p);
    if (str_eq_nocase(word, STR("NEW")) || str_eq_nocase(word, STR("OLD")))
        return recent_key(p, str_eq_nocase(word, STR("OLD")));
    return table_key(p, word);
}

/* One key; NULL after a failure. */
static struct imap_search_key *key(struct program *p)
{
    if (++p->a->depth > IMAP_PARSE_DEPTH_MAX) {
        imap_args_fail(p->a, "a search program of less depth");
        return NULL;
    }
    struct imap_search_key *k = compound(p);
    p->a->depth--;
    return k;
}

bool imap_parse_search_keys(struct imap_args *a, struct imap_search *out)
{
    struct program p = {.a = a, .search = out};
    out->program = all_of(&p);
    return imap_args_ok(a);
}

/* ---- RETURN ---- */

static bool partial_number(struct imap_args *a, int64_t *out)
{
    bool negative = imap_accept(a, '-');
    uint32_t n;
    bool ok = imap_parse_nz_number(a, &n);
    *out = negative ? -(int64_t)n : (int64_t)n;
    return ok;
}

bool imap_parse_partial_range(struct imap_args *a, int64_t *first, int64_t *last)
{
    if (!imap_parse_space(a) || !partial_number(a, first) || !imap_parse_char(a, ':') || !partial_number(a, last))
        return false;
    if ((*first < 0) != (*last < 0))
        return imap_args_fail(a, "a range of one sign");
    if (*first > 0 ? *first > *last : *first < *last) {
        int64_t t = *last;
        *last = *first;
        *first = t;
    }
    return true;
}

static bool return_option(struct imap_args *a, struct imap_search *out)
{
    static const struct {
        const char *word;
        unsigned bit;
    } words[] = {{"MIN", IMAP_RETURN_MIN},     {"MAX", IMAP_RETURN_MAX},   {"ALL", IMAP_RETURN_ALL},
                 {"COUNT", IMAP_RETURN_COUNT}, {"SAVE", IMAP_RETURN_SAVE}, {"PARTIAL", IMAP_RETURN_PARTIAL}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (imap_accept_word(a, words[i].word)) {
            out->returns |= words[i].bit;
            return words[i].bit != IMAP_RETURN_PARTIAL || imap_parse_partial_range(a, &out->partial_first, &out->partial_last);
        }
    return imap_args_fail(a, "a known return option");
}

static bool returns(struct imap_args *a, struct imap_search *out)
{
    out->extended = true;
    if (!imap_parse_space(a) || !imap_parse_char(a, '('))
        return false;
    while (!imap_accept(a, ')')) {
        if (out->returns && !imap_parse_space(a))
            return false;
        if (!return_option(a, out))
            return false;
    }
    if (out->returns == 0)
        out->returns = IMAP_RETURN_ALL; /* RFC 9051 6.4.4 */
    /* RFC 9394 3.1 */
    if ((out->returns & IMAP_RETURN_PARTIAL) && (out->returns & IMAP_RETURN_ALL))
        return imap_args_fail(a, "either PARTIAL or ALL");
    return imap_parse_space(a);
}

bool imap_parse_search(struct imap_args *a, struct imap_search *out)
{
    *out = (struct imap_search){0};
    if (imap_accept_word(a, "RETURN") && !returns(a, out))
        return false;
    if (imap_accept_word(a, "CHARSET") && (!imap_parse_space(a) || !imap_parse_astring(a, &out->charset) || !imap_parse_space(a)))
        return false;
    return imap_parse_search_keys(a, out) && imap_parse_end(a);
}
