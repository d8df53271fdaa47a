/* The grammar of IMAP commands (RFC 9051 9, RFC 3501 9, and the extensions named below): a cursor over one complete command.
 *
 * The framer (serve/imap/frame.c) collects a command with its literals, "{5}" CRLF and five bytes each, without the last CRLF;
 * everything that a command can say is read here and nowhere else. Results are plain data in the arena of the command, or views of
 * the text. Pure functions, any thread.
 *
 * Errors: after a failure every later call fails too; `wrong` then names what was expected, for the text of BAD. A full arena
 * counts as such a failure. Every list has a maximum, nesting has a depth limit. */
#ifndef FORMAT_IMAP_PARSE_H
#define FORMAT_IMAP_PARSE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/rd.h"
#include "format/date.h"

enum {
    IMAP_PARSE_ITEMS_MAX = 100,    /* FETCH items, LIST patterns, flags of a list, header fields of a section */
    IMAP_PARSE_SECTION_MAX = 64,   /* numbers of a section part */
    IMAP_PARSE_KEYS_MAX = 1000,    /* keys of a search program */
    IMAP_PARSE_DEPTH_MAX = 32,     /* nesting of search keys and of skipped parentheses */
    IMAP_PARSE_RANGES_MAX = 20000, /* ranges of a sequence set */
};

struct imap_args {
    struct rd rd;
    struct arena *arena;
    bool utf8;         /* mailbox names are UTF-8 (IMAP4rev2, UTF8=ACCEPT), else modified UTF-7 */
    const char *wrong; /* after a failure: "a mailbox name" */
    unsigned depth;
};

struct imap_args imap_args_of(struct str text, struct arena *arena, bool utf8);
static inline bool imap_args_ok(const struct imap_args *a) { return !a->rd.failed; }
/* Fails; `expected` is a static text. Returns false. */
bool imap_args_fail(struct imap_args *a, const char *expected);

/* ---- tokens; each takes what it names, or fails ---- */

bool imap_parse_space(struct imap_args *a);        /* exactly one */
bool imap_parse_end(struct imap_args *a);          /* nothing may follow */
bool imap_parse_char(struct imap_args *a, char c); /* must be next */
bool imap_accept(struct imap_args *a, char c);     /* takes c if it is next; never fails */
bool imap_peek_is(const struct imap_args *a, char c);
bool imap_at_end(const struct imap_args *a); /* true also after a failure */
/* Takes the word, in any case, if it is next and no letter, digit or dot that would make it another word follows; never fails. */
bool imap_accept_word(struct imap_args *a, const char *word);

bool imap_parse_tag(struct imap_args *a, struct str *out);
bool imap_parse_atom(struct imap_args *a, struct str *out);
bool imap_parse_astring(struct imap_args *a, struct str *out);
bool imap_parse_string(struct imap_args *a, struct str *out);  /* quoted or literal; no NUL */
bool imap_parse_nstring(struct imap_args *a, struct str *out); /* NIL: out->p is NULL */
bool imap_parse_number(struct imap_args *a, uint32_t *out);
bool imap_parse_nz_number(struct imap_args *a, uint32_t *out);
bool imap_parse_number64(struct imap_args *a, uint64_t *out);       /* 63 bits */
bool imap_parse_mailbox(struct imap_args *a, struct str *out);      /* as UTF-8; INBOX in any case becomes "INBOX" */
bool imap_parse_list_mailbox(struct imap_args *a, struct str *out); /* with wildcards, as UTF-8 */
bool imap_parse_date(struct imap_args *a, int32_t *day);            /* days since 1970-01-01 */
bool imap_parse_date_time(struct imap_args *a, struct date *out);
/* Skips a value of an unknown extension: an atom, number, set, string or balanced parentheses (RFC 4466 tagged-ext-val). */
bool imap_parse_skip(struct imap_args *a);

/* Flags as the store has them; the bits are those of enum message_flag (a check in serve/imap holds them equal). */
enum imap_flag {
    IMAP_FLAG_SEEN = 1 << 0,
    IMAP_FLAG_ANSWERED = 1 << 1,
    IMAP_FLAG_FLAGGED = 1 << 2,
    IMAP_FLAG_DELETED = 1 << 3,
    IMAP_FLAG_DRAFT = 1 << 4,
};
struct imap_flags {
    uint32_t flags;
    struct str *keywords; /* as written, each once (ASCII case-insensitive) */
    size_t count;
};
/* In parentheses or, for STORE, bare. \Recent cannot be set and unknown \Flags do not exist: both fail. */
bool imap_parse_flag_list(struct imap_args *a, struct imap_flags *out);
bool imap_parse_flags_bare(struct imap_args *a, struct imap_flags *out);

/* ---- sets ---- */

struct imap_range {
    uint32_t first, last; /* 0 stands for '*'; otherwise first <= last */
};
struct imap_set {
    struct imap_range *ranges;
    size_t count;
    bool saved; /* "$": the saved result of a search (RFC 5182); then there are no ranges */
};
bool imap_parse_set(struct imap_args *a, struct imap_set *out);
bool imap_parse_known_set(struct imap_args *a, struct imap_set *out); /* without '*' and '$' (QRESYNC) */

/* ---- SELECT (RFC 4466 2.1, 7162) ---- */

struct imap_select {
    struct str mailbox;
    bool condstore, qresync;
    uint32_t uidvalidity;
    uint64_t modseq;
    bool has_known;
    struct imap_set known_uids;
    bool has_match;
    struct imap_set match_sequence, match_uids;
};
bool imap_parse_select(struct imap_args *a, struct imap_select *out); /* what follows "SELECT" SP */

/* ---- STATUS, LIST (RFC 9051 6.3.9-11, 5258, 5819, 6154) ---- */

enum imap_status_item {
    IMAP_STATUS_MESSAGES = 1 << 0,
    IMAP_STATUS_UIDNEXT = 1 << 1,
    IMAP_STATUS_UIDVALIDITY = 1 << 2,
    IMAP_STATUS_UNSEEN = 1 << 3,
    IMAP_STATUS_DELETED = 1 << 4,
    IMAP_STATUS_SIZE = 1 << 5,
    IMAP_STATUS_RECENT = 1 << 6,           /* RFC 3501 */
    IMAP_STATUS_HIGHESTMODSEQ = 1 << 7,    /* RFC 7162 */
    IMAP_STATUS_APPENDLIMIT = 1 << 8,      /* RFC 7889 */
    IMAP_STATUS_MAILBOXID = 1 << 9,        /* RFC 8474 */
    IMAP_STATUS_DELETED_STORAGE = 1 << 10, /* RFC 9208 4.1.4 */
};
bool imap_parse_status_items(struct imap_args *a, unsigned *items); /* "(" ... ")" */

enum imap_list_select {
    IMAP_LIST_SUBSCRIBED = 1 << 0,
    IMAP_LIST_REMOTE = 1 << 1,
    IMAP_LIST_RECURSIVEMATCH = 1 << 2,
    IMAP_LIST_SPECIAL_USE = 1 << 3,
};
enum imap_list_return {
    IMAP_LIST_RETURN_SUBSCRIBED = 1 << 0,
    IMAP_LIST_RETURN_CHILDREN = 1 << 1,
    IMAP_LIST_RETURN_STATUS = 1 << 2,
    IMAP_LIST_RETURN_SPECIAL_USE = 1 << 3,
};
struct imap_list {
    unsigned select, returns, status; /* bits of the enums above */
    bool extended;                    /* any syntax of RFC 5258 was used */
    struct str reference;
    struct str *patterns;
    size_t pattern_count;
};
bool imap_parse_list(struct imap_args *a, struct imap_list *out); /* what follows "LIST" SP */

/* Has mailbox name `name` the form of `pattern` ('*' any, '%' any but `separator`)? In time proportional to the product of the
 * lengths, whatever the pattern (no backtracking). */
bool imap_pattern_match(struct str pattern, struct str name, char separator);
/* As above, and whether some name below `name` (name, separator, more) could have the form. */
bool imap_pattern_match_below(struct str pattern, struct str name, char separator);

/* RFC 9394 3.1: SP "1:100" or "-1:-100", from the end. The first one is the nearer to where is counted from. */
bool imap_parse_partial_range(struct imap_args *a, int64_t *first, int64_t *last);

/* ---- FETCH (RFC 9051 6.4.5, 3516, 7162, 8474, 8514, 8970, 9394) ---- */

enum imap_fetch_kind {
    IMAP_FETCH_UID,
    IMAP_FETCH_FLAGS,
    IMAP_FETCH_INTERNALDATE,
    IMAP_FETCH_RFC822_SIZE,
    IMAP_FETCH_ENVELOPE,
    IMAP_FETCH_BODY, /* without section: the structure, not extensible */
    IMAP_FETCH_BODYSTRUCTURE,
    IMAP_FETCH_MODSEQ,
    IMAP_FETCH_EMAILID,
    IMAP_FETCH_THREADID,
    IMAP_FETCH_SAVEDATE,
    IMAP_FETCH_PREVIEW,
    IMAP_FETCH_SECTION,     /* BODY[...], and rev1's RFC822, RFC822.HEADER, RFC822.TEXT */
    IMAP_FETCH_BINARY,      /* BINARY[...] */
    IMAP_FETCH_BINARY_SIZE, /* BINARY.SIZE[...] */
};
enum imap_section_text {
    IMAP_SECTION_ALL, /* the part, or the message */
    IMAP_SECTION_HEADER,
    IMAP_SECTION_HEADER_FIELDS,
    IMAP_SECTION_HEADER_FIELDS_NOT,
    IMAP_SECTION_TEXT,
    IMAP_SECTION_MIME,
};
struct imap_section {
    uint32_t *part; /* numbers; none: the message itself */
    size_t part_count;
    enum imap_section_text text;
    struct str *fields;
    size_t field_count;
};
struct imap_fetch_item {
    enum imap_fetch_kind kind;
    bool peek;    /* does not set \Seen */
    bool partial; /* <offset.length> */
    uint64_t offset, length;
    struct imap_section section;
    struct str label; /* what the answer calls it, e.g. "BODY[1.HEADER.FIELDS (TO CC)]<0>" */
};
struct imap_fetch {
    struct imap_set set;
    struct imap_fetch_item *items; /* each kind without section at most once */
    size_t count;
    bool sets_seen; /* some item is a body that is not peeked at */
    bool has_changed_since, vanished;
    uint64_t changed_since;
    bool partial; /* RFC 9394 3.3, for UID FETCH: only these of the messages */
    int64_t partial_first, partial_last;
};
bool imap_parse_fetch(struct imap_args *a, struct imap_fetch *out); /* what follows "FETCH" SP */
/* Has it an item of that kind (without section)? */
bool imap_fetch_has(const struct imap_fetch *f, enum imap_fetch_kind kind);

/* ---- STORE (RFC 9051 6.4.6, 7162 3.1.3) ---- */

enum imap_store_mode { IMAP_STORE_SET, IMAP_STORE_ADD, IMAP_STORE_REMOVE }; /* values as enum message_store_mode */
struct imap_store {
    struct imap_set set;
    enum imap_store_mode mode;
    bool silent;
    bool has_unchanged_since;
    uint64_t unchanged_since;
    struct imap_flags flags;
};
bool imap_parse_store(struct imap_args *a, struct imap_store *out); /* what follows "STORE" SP */

/* ---- SEARCH (RFC 9051 6.4.4, 3501, 4731, 5032, 5182, 7162 3.1.5, 8474, 8514, 9394) ---- */

enum imap_search_kind {
    IMAP_SEARCH_AND, /* of its children; none: everything */
    IMAP_SEARCH_OR,  /* of its two children */
    IMAP_SEARCH_NOT, /* of its child */
    IMAP_SEARCH_ALL,
    IMAP_SEARCH_FLAG,    /* flag is set */
    IMAP_SEARCH_KEYWORD, /* text is set */
    IMAP_SEARCH_RECENT,  /* rev1 (NEW is RECENT and not SEEN, OLD is not RECENT) */
    IMAP_SEARCH_SEQUENCE,
    IMAP_SEARCH_UID,
    IMAP_SEARCH_BEFORE, /* INTERNALDATE's day < day */
    IMAP_SEARCH_ON,
    IMAP_SEARCH_SINCE,
    IMAP_SEARCH_SENTBEFORE, /* Date:'s day */
    IMAP_SEARCH_SENTON,
    IMAP_SEARCH_SENTSINCE,
    IMAP_SEARCH_SAVEDBEFORE, /* RFC 8514 */
    IMAP_SEARCH_SAVEDON,
    IMAP_SEARCH_SAVEDSINCE,
    IMAP_SEARCH_SAVEDATESUPPORTED,
    IMAP_SEARCH_OLDER, /* RFC 5032: more than `number` seconds ago */
    IMAP_SEARCH_YOUNGER,
    IMAP_SEARCH_LARGER,
    IMAP_SEARCH_SMALLER,
    IMAP_SEARCH_MODSEQ, /* >= number */
    IMAP_SEARCH_HEADER, /* header field `name` contains text (empty: exists); BCC, CC, FROM, SUBJECT, TO are this too */
    IMAP_SEARCH_BODY,
    IMAP_SEARCH_TEXT,
    IMAP_SEARCH_EMAILID, /* RFC 8474: text */
    IMAP_SEARCH_THREADID,
};
struct imap_search_key {
    enum imap_search_kind kind;
    uint32_t flag; /* enum imap_flag */
    int32_t day;
    uint64_t number;
    struct str name, text; /* text in the charset of the program */
    struct imap_set set;
    struct imap_search_key *child, *next; /* next: sibling */
};
enum imap_search_return {
    IMAP_RETURN_MIN = 1 << 0,
    IMAP_RETURN_MAX = 1 << 1,
    IMAP_RETURN_ALL = 1 << 2,
    IMAP_RETURN_COUNT = 1 << 3,
    IMAP_RETURN_SAVE = 1 << 4,
    IMAP_RETURN_PARTIAL = 1 << 5, /* RFC 9394 */
};
struct imap_search {
    bool extended;                       /* RETURN was given: the answer is ESEARCH */
    unsigned returns;                    /* bits; RETURN () means ALL */
    int64_t partial_first, partial_last; /* PARTIAL 1:100, or -1:-100 from the end */
    struct str charset;                  /* empty: not given */
    struct imap_search_key *program;     /* an AND */
    bool uses_modseq;                    /* a MODSEQ key is in it: the answer carries MODSEQ (RFC 7162 3.1.5) */
    bool uses_sequence;                  /* a sequence-number set is in it (RFC 7162 3.2.10.2: no VANISHED then) */
};
bool imap_parse_search(struct imap_args *a, struct imap_search *out); /* what follows "SEARCH" SP */
/* One or more keys up to the end or ")", as one AND (for SORT and THREAD). */
bool imap_parse_search_keys(struct imap_args *a, struct imap_search *out);

#endif
