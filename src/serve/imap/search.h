/* The parts of SEARCH: cmd_search.c makes the program ready and walks through the mailbox, search_set.c solves what whole sets of
 * messages answer, search_match.c decides about one message, search_text.c looks into its text, search_answer.c words the answer.
 */
#ifndef SERVE_IMAP_SEARCH_H
#define SERVE_IMAP_SEARCH_H

#include "format/digest.h"
#include "serve/imap/imap.h"

enum {
    SEARCH_EMAILS = 64,           /* messages whose digests are read at a time */
    SEARCH_DIGESTS_MAX = 4 << 20, /* bytes of digests kept; what does not fit is read when its turn comes */
    SEARCH_TEXT_MAX = 64 << 10,   /* of a text to search for */
    SEARCH_SETS_MAX = 32 << 20,   /* bytes of the sets in a program */
    SEARCH_WHOLE_MAX = 1 << 20,   /* a message up to this size is read at once */
    SEARCH_PIECE = 32 << 10,      /* bytes looked through at a time */
    SEARCH_HEADER_MAX = 1 << 20,  /* of a header that are looked through */
    SEARCH_SLICE_BYTES = 4 << 20, /* of text, and */
    SEARCH_SLICE_MESSAGES = 1024, /* messages, after which other sessions get their turn */
};

/* What a key has to read to decide. */
enum search_cost { SEARCH_INDEX, SEARCH_DIGEST, SEARCH_TEXT };

/* A search key, made ready: sets resolved to UIDs, texts in UTF-8 and folded. In the command's arena but for `uids`. */
struct search_term {
    const struct imap_search_key *key;
    enum search_cost cost;          /* the highest below it */
    bool is_set;                    /* search_set_solve can do it */
    bool done;                      /* it holds for every candidate */
    struct uidset uids;             /* SEQUENCE, UID */
    uint64_t keyword;               /* KEYWORD: its bit, 0: no message has it */
    struct str name, text;          /* HEADER: field name; what to look for, folded */
    struct search_term *child;      /* cheap ones first */
    struct search_term *next, *all; /* all: a list of every term, to release them */
};

/* The message under examination. Digest and text are read when a term needs them. */
struct search_message {
    struct imap_session *s;
    const struct message_entry *entry;
    int64_t now_s;
    struct message_email email;
    bool has_email, has_digest, has_bytes;
    struct digest digest;
    struct buf digest_bytes, bytes; /* bytes: the whole message if it is not larger than SEARCH_WHOLE_MAX */
    struct buf text, folded;        /* of a header field */
    uint64_t read_bytes;            /* so far */
    struct err err;                 /* what could not be read: then the message is not decided */
};
void search_message_release(struct search_message *m);

/* Answers of sets, read once in a command. */
struct search_sets {
    struct imap_session *s;
    struct uidset present; /* the messages that the client knows and that are still there */
    struct uidset unseen, deleted;
    bool has_unseen, has_deleted;
};
enum st search_sets_init(struct search_sets *sets, struct imap_session *s, struct err *e) MUST_USE;
void search_sets_release(struct search_sets *sets);
/* Can the key alone be solved (NOT, OR and AND: if all below can)? */
bool search_set_can(enum imap_search_kind kind, uint32_t flag);
/* The messages that fit; *out is empty before, the caller releases it. */
enum st search_set_solve(struct search_sets *sets, const struct search_term *t, struct uidset *out, struct err *e) MUST_USE;

enum search_cost search_cost(enum imap_search_kind kind);
bool search_matches(struct search_message *m, const struct search_term *term);
/* All in the list up to this cost, and not done; below it they fit already. */
bool search_all_match(struct search_message *m, const struct search_term *first, enum search_cost from, enum search_cost to);

bool search_digest(struct search_message *m); /* reads it once */
/* Does a header field of that name (case-insensitive) contain the folded text? Empty text: does the field exist? */
bool search_header(struct search_message *m, struct str name, struct str folded);
/* Does the text of the body contain it: decoded text parts and those of attached messages? headers: or any header field, those of
 * parts and attached messages included (RFC 9051 6.4.4, BODY and TEXT)? */
bool search_body(struct search_message *m, struct str folded, bool headers);

/* ---- the answer ---- */

struct search_answer {
    struct imap_search what;
    bool uid, esearch;
    struct uidset found;  /* UIDs */
    struct uidset shown;  /* of them, what ALL or PARTIAL lists */
    struct uidset listed; /* the same as they are said: UIDs or sequence numbers */
    uint64_t modseq;      /* highest of what is returned */
    bool begun, list_begun;
    uint64_t list_at;
};
void search_answer_release(struct search_answer *a);
/* From `found`: what is said, and the search result variable. */
enum st search_answer_make(struct imap_session *s, struct search_answer *a, struct err *e) MUST_USE;
/* Writes it; IMAP_MORE: call again when there is room. */
enum imap_next search_answer_put(struct imap_session *s, struct search_answer *a);

#endif
