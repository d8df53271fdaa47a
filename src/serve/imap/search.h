/* The parts of SEARCH: search_match.c decides whether a message fits a program, search_text.c looks into its text, cmd_search.c
 * walks through the mailbox and words the answer. */
#ifndef SERVE_IMAP_SEARCH_H
#define SERVE_IMAP_SEARCH_H

#include "format/digest.h"
#include "serve/imap/imap.h"

/* A search key, made ready: sets resolved to UIDs, texts in UTF-8 and folded. In the command's arena but for `uids`. */
struct search_term {
    const struct imap_search_key *key;
    struct uidset uids;                     /* SEQUENCE, UID */
    uint64_t keyword;                       /* KEYWORD: its bit, 0: no message has it */
    struct str name, text;                  /* HEADER: field name; what to look for, folded */
    struct search_term *child, *next, *all; /* all: a list of every term, to release them */
};

/* The message under examination. Digest and text are read when a term needs them. */
struct search_message {
    struct imap_session *s;
    const struct message_entry *entry;
    int64_t now_s;
    struct buf digest_bytes;
    struct digest digest;
    bool has_digest;
    struct err err; /* what could not be read; the message counts as not fitting */
};

enum { SEARCH_PIECE = 32 << 10 /* bytes of a message looked through at a time */, SEARCH_HEADER_MAX = 1 << 20 };

bool search_matches(struct search_message *m, const struct search_term *term);
bool search_digest(struct search_message *m); /* reads it once */
/* Does a header field of that name (case-insensitive) contain the folded text? Empty text: does the field exist? */
bool search_header(struct search_message *m, struct str name, struct str folded);
/* Does any header field contain it? */
bool search_any_header(struct search_message *m, struct str folded);
/* Does the text of the body contain it: decoded text parts, and the headers of attached messages? */
bool search_body(struct search_message *m, struct str folded);

#endif
