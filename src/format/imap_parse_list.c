/* SELECT, STATUS and LIST, and the patterns of LIST. */
#include "format/imap_parse.h"

/* ---- SELECT ---- */

/* "(" uidvalidity SP modseq [SP known-uids] [SP "(" sequence SP uids ")"] ")" (RFC 7162 7) */
static bool qresync(struct imap_args *a, struct imap_select *out)
{
    bool ok = imap_parse_space(a) && imap_parse_char(a, '(') && imap_parse_nz_number(a, &out->uidvalidity) && imap_parse_space(a) &&
              imap_parse_number64(a, &out->modseq);
    if (!ok)
        return false;
    out->qresync = true;
    bool more = imap_accept(a, ' ');
    if (more && !imap_peek_is(a, '(')) {
        out->has_known = true;
        if (!imap_parse_known_set(a, &out->known_uids))
            return false;
        more = imap_accept(a, ' ');
    }
    if (more) {
        out->has_match = true;
        if (!imap_parse_char(a, '(') || !imap_parse_known_set(a, &out->match_sequence) || !imap_parse_space(a) ||
            !imap_parse_known_set(a, &out->match_uids) || !imap_parse_char(a, ')'))
            return false;
    }
    return imap_parse_char(a, ')');
}

static bool select_parameter(struct imap_args *a, struct imap_select *out)
{
    if (imap_accept_word(a, "CONDSTORE"))
        return out->condstore = true;
    if (imap_accept_word(a, "QRESYNC"))
        return !out->qresync ? qresync(a, out) : imap_args_fail(a, "one QRESYNC");
    return imap_args_fail(a, "a known parameter");
}

bool imap_parse_select(struct imap_args *a, struct imap_select *out)
{
    *out = (struct imap_select){0};
    if (!imap_parse_mailbox(a, &out->mailbox))
        return false;
    if (imap_at_end(a))
        return true;
    if (!imap_parse_space(a) || !imap_parse_char(a, '('))
        return false;
    do
        if (!select_parameter(a, out))
            return false;
    while (imap_accept(a, ' '));
    return imap_parse_char(a, ')') && imap_parse_end(a);
}

/* ---- STATUS ---- */

struct word_bit {
    const char *word;
    unsigned bit;
};

static const struct word_bit status_words[] = {
    {"MESSAGES", IMAP_STATUS_MESSAGES},
    {"UIDNEXT", IMAP_STATUS_UIDNEXT},
    {"UIDVALIDITY", IMAP_STATUS_UIDVALIDITY},
    {"UNSEEN", IMAP_STATUS_UNSEEN},
    {"DELETED", IMAP_STATUS_DELETED},
    {"SIZE", IMAP_STATUS_SIZE},
    {"RECENT", IMAP_STATUS_RECENT},
    {"HIGHESTMODSEQ", IMAP_STATUS_HIGHESTMODSEQ},
    {"APPENDLIMIT", IMAP_STATUS_APPENDLIMIT},
    {"MAILBOXID", IMAP_STATUS_MAILBOXID},
    {"DELETED-STORAGE", IMAP_STATUS_DELETED_STORAGE},

    {NULL, 0},
};
static const struct word_bit select_words[] = {
    {"SUBSCRIBED", IMAP_LIST_SUBSCRIBED},
    {"REMOTE", IMAP_LIST_REMOTE},
    {"RECURSIVEMATCH", IMAP_LIST_RECURSIVEMATCH},
    {"SPECIAL-USE", IMAP_LIST_SPECIAL_USE},
    {NULL, 0},
};
static const struct word_bit return_words[] = {
    {"SUBSCRIBED", IMAP_LIST_RETURN_SUBSCRIBED},
    {"CHILDREN", IMAP_LIST_RETURN_CHILDREN},
    {"STATUS", IMAP_LIST_RETURN_STATUS},
    {"SPECIAL-USE", IMAP_LIST_RETURN_SPECIAL_USE},
    {NULL, 0},
};

static unsigned word_bit(struct imap_args *a, const struct word_bit *words)
{
    for (; words->word; words++)
        if (imap_accept_word(a, words->word))
            return words->bit;
    return 0;
}

bool imap_parse_status_items(struct imap_args *a, unsigned *items)
{
    *items = 0;
    if (!imap_parse_char(a, '('))
        return false;
    do {
        unsigned bit = word_bit(a, status_words);
        if (!bit)
            return imap_args_fail(a, "a known status item");
        *items |= bit;
    } while (imap_accept(a, ' '));
    return imap_parse_char(a, ')');
}

/* ---- LIST ---- */

static bool list_select(struct imap_args *a, struct imap_list *out)
{
    out->extended = true;
    imap_parse_char(a, '(');
    if (!imap_accept(a, ')')) {
        do {
            unsigned bit = word_bit(a, select_words);
            if (!bit)
                return imap_args_fail(a, "a known selection option");
            out->select |= bit;
        } while (imap_accept(a, ' '));
        if (!imap_parse_char(a, ')'))
            return false;
    }
    /* RFC 9051 6.3.9.1: RECURSIVEMATCH modifies an option that selects by itself */
    if ((out->select & IMAP_LIST_RECURSIVEMATCH) && !(out->select & (IMAP_LIST_SUBSCRIBED | IMAP_LIST_SPECIAL_USE)))
        return imap_args_fail(a, "an option that RECURSIVEMATCH can modify");
    return imap_parse_space(a);
}

static bool list_return(struct imap_args *a, struct imap_list *out)
{
    out->extended = true;
    if (!imap_accept_word(a, "RETURN"))
        return imap_args_fail(a, "RETURN");
    if (!imap_parse_space(a) || !imap_parse_char(a, '('))
        return false;
    if (imap_accept(a, ')'))
        return true;
    do {
        unsigned bit = word_bit(a, return_words);
        if (!bit)
            return imap_args_fail(a, "a known return option");
        out->returns |= bit;
        if (bit == IMAP_LIST_RETURN_STATUS && (!imap_parse_space(a) || !imap_parse_status_items(a, &out->status)))
            return false;
    } while (imap_accept(a, ' '));
    return imap_parse_char(a, ')');
}

static bool list_patterns(struct imap_args *a, struct imap_list *out)
{
    bool several = imap_accept(a, '(');
    out->extended = out->extended || several;
    out->patterns = ARENA_ARRAY(a->arena, several ? IMAP_PARSE_ITEMS_MAX : 1, struct str);
    if (!out->patterns)
        return imap_args_fail(a, "a shorter command");
    do {
        if (out->pattern_count == (several ? IMAP_PARSE_ITEMS_MAX : 1))
            return imap_args_fail(a, "fewer patterns");
        if (!imap_parse_list_mailbox(a, &out->patterns[out->pattern_count++]))
            return false;
    } while (several && imap_accept(a, ' '));
    return !several || imap_parse_char(a, ')');
}

bool imap_parse_list(struct imap_args *a, struct imap_list *out)
{
    *out = (struct imap_list){0};
    if (imap_peek_is(a, '(') && !list_select(a, out))
        return false;
    if (!imap_parse_mailbox(a, &out->reference) || !imap_parse_space(a) || !list_patterns(a, out))
        return false;
    if (imap_at_end(a))
        return imap_args_ok(a);
    return imap_parse_space(a) && list_return(a, out) && imap_parse_end(a);
}

/* ---- patterns ---- */

enum { PATTERN_BYTES_MAX = 1024 };

/* The pattern as a machine with one state for each byte of it; `at[i]`: the first i bytes can match what was read so far. */
struct pattern {
    struct str text;
    bool at[PATTERN_BYTES_MAX + 1];
};

/* Wildcards match nothing too. */
static void skip_wildcards(struct pattern *p)
{
    for (size_t i = 0; i < p->text.n; i++)
        if (p->at[i] && (p->text.p[i] == '*' || p->text.p[i] == '%'))
            p->at[i + 1] = true;
}

static bool pattern_begin(struct pattern *p, struct str text)
{
    if (text.n > PATTERN_BYTES_MAX)
        return false; /* longer than any name */
    memset(p->at, 0, text.n + 1);
    p->text = text;
    p->at[0] = true;
    skip_wildcards(p);
    return true;
}

static bool pattern_read(struct pattern *p, char c, char separator)
{
    bool alive = false;
    for (size_t i = p->text.n + 1; i-- > 0;) {
        char w = i < p->text.n ? p->text.p[i] : '\0';
        bool stay = i < p->text.n && p->at[i] && (w == '*' || (w == '%' && c != separator));
        bool step = i > 0 && p->at[i - 1] && p->text.p[i - 1] == c;
        p->at[i] = stay || step;
        alive = alive || p->at[i];
    }
    skip_wildcards(p);
    return alive;
}

bool imap_pattern_match(struct str pattern, struct str name, char separator)
{
    struct pattern p;
    bool alive = pattern_begin(&p, pattern);
    for (size_t i = 0; alive && i < name.n; i++)
        alive = pattern_read(&p, name.p[i], separator);
    return alive && p.at[pattern.n];
}

bool imap_pattern_match_below(struct str pattern, struct str name, char separator)
{
    struct pattern p;
    bool alive = pattern_begin(&p, pattern);
    for (size_t i = 0; alive && i < name.n; i++)
        alive = pattern_read(&p, name.p[i], separator);
    if (!alive || !pattern_read(&p, separator, separator))
        return false;
    for (size_t i = 0; i < pattern.n; i++)
        if (p.at[i])
            return true; /* something is left that further bytes can match; a wildcard at the end counts as such */
    return false;
}
