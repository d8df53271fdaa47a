/* What the files of FETCH share: cmd_fetch.c begins and ends the command and walks through messages and items, fetch_ahead.c reads
 * what they need, fetch_item.c writes the items, fetch_body.c BODY[...] and BINARY[...]. */
#ifndef SERVE_IMAP_FETCH_H
#define SERVE_IMAP_FETCH_H

#include "format/digest.h"
#include "serve/imap/line.h"

enum {
    FETCH_PAGE = 256,               /* index entries read at a time */
    FETCH_EMAILS = 256,             /* e-mails (facts and digests) read at a time */
    FETCH_DIGESTS_MAX = 4 << 20,    /* bytes of digests kept; what does not fit is read when its turn comes */
    FETCH_DIGEST_USUAL = 1536,      /* bytes of a digest; 0.5 to 2 KB */
    FETCH_BODIES_MAX = 128 << 10,   /* bytes of messages kept; larger ones are read in pieces when their turn comes */
    FETCH_HEADER_MAX = 1 << 20,     /* bytes of a header that HEADER.FIELDS looks through */
    FETCH_DECODE_WHOLE = 256 << 10, /* BINARY: encoded text up to this size is decoded once, in memory */
    FETCH_DECODE_PIECE = 48 << 10,  /* of larger ones at a time */
};

/* An e-mail of the window of the page that was read ahead. */
struct fetch_email {
    bool known;
    struct message_email email;
    size_t at, n; /* of its digest in `digests`; n 0: not kept */
    bool has_body;
    size_t body_at; /* of its bytes in `bodies` */
};

/* A part of the answer that may be longer than the output: bytes of the message, bytes in memory, or decoded bytes. */
enum fetch_stream { FETCH_STREAM_NONE, FETCH_STREAM_MESSAGE, FETCH_STREAM_MEMORY, FETCH_STREAM_DECODED };

enum fetch_step {
    FETCH_NEXT,
    FETCH_ROOM,   /* more is left to write */
    FETCH_FAILED, /* the item cannot be had: fetch.err */
    FETCH_BROKEN, /* a literal cannot be finished: the connection must end */
};

/* BINARY: the transfer encoding is removed; lines of text end with CRLF (RFC 9051 7.5.2). */
struct fetch_decoder {
    struct transfer_decoder transfer;
    bool text;
    char last; /* byte that was written */
};

struct fetch {
    struct imap_fetch what;
    struct uidset uids;     /* to answer */
    struct uidset told;     /* \Seen was set by this command: their flags are told too */
    struct uidset vanished; /* to say first (RFC 7162 3.2.6) */
    uint64_t vanished_at, told_modseq;
    bool uid;   /* UID FETCH */
    bool plain; /* every item is in the index */
    bool needs_email, needs_digest, add_uid, add_modseq;
    bool stop;        /* an error that would meet the other messages too */
    uint64_t missing; /* messages that another session expunged meanwhile */
    struct err err;   /* of the last item */
    struct err worst; /* how the command ends */

    struct message_entry *page; /* page_max; as many as are wanted, but FETCH_PAGE at most */
    size_t page_max, page_n, page_at;
    uint32_t next_uid;          /* 0: no more pages */
    struct fetch_email *emails; /* page_max; NULL: nothing but the index is wanted */
    size_t window, window_n;    /* emails[0] is of page[window] */
    struct buf digests;
    struct buf bodies;
    size_t bodies_end; /* of page: before it bodies were read ahead, where that was possible */

    struct line_writer lines;
    bool open;   /* "* n FETCH (" is written */
    bool spaced; /* an item was written */
    size_t item;
    struct digest digest; /* of the current message */
    bool has_digest;
    struct buf one; /* a digest that was not kept */

    enum fetch_stream stream;
    struct str memory;     /* MEMORY: what is left */
    uint64_t offset, left; /* MESSAGE, DECODED: of the message */
    struct fetch_decoder decoder;
    uint64_t skip, take; /* DECODED: bytes of the result to leave out, and then to write */
    struct buf scratch;  /* header fields, decoded bytes */
    struct buf crlf;     /* decoded bytes with their line ends mended */
};

/* ---- fetch_ahead.c ---- */

/* The current message is a new one: reads ahead if it is not in the window. */
void fetch_ahead(struct imap_session *s, struct fetch *f);
/* The facts of the current message's e-mail, its digest; false: they cannot be had (f->err). */
const struct message_email *fetch_email(struct imap_session *s, struct fetch *f);
bool fetch_need_digest(struct imap_session *s, struct fetch *f);
/* Reads bytes of the current message; fewer than asked for are an error too. */
enum st fetch_read(struct imap_session *s, struct fetch *f, uint64_t offset, size_t n, struct buf *out) MUST_USE;

/* ---- fetch_item.c ---- */

/* What the items need to be read. */
void fetch_item_needs(struct fetch *f);
/* A response of items that are all in the index (a line_print; context is the struct fetch). */
void fetch_plain(void *context, struct line_writer *w, const struct message_entry *m);
/* One item: written, or its label and f->stream for the rest. FAILED: nothing of it is kept. */
enum fetch_step fetch_item(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item);
/* Text in memory that must stay until the stream is done: written at once if there is room, else the stream. */
void fetch_put_text(struct imap_session *s, struct fetch *f, struct str text);

/* ---- fetch_body.c ---- */

enum fetch_step fetch_section(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item);
/* Writes as much of f->stream as there is room for. */
enum fetch_step fetch_stream(struct imap_session *s, struct fetch *f);

#endif
