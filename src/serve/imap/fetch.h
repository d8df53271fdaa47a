/* What the files of FETCH share: cmd_fetch.c walks through messages and items, fetch_body.c writes BODY[...] and BINARY[...]. */
#ifndef SERVE_IMAP_FETCH_H
#define SERVE_IMAP_FETCH_H

#include "format/digest.h"
#include "serve/imap/imap.h"

enum {
    FETCH_PAGE = 64,               /* index entries, and digests, read at a time */
    FETCH_DIGESTS_MAX = 4 << 20,   /* bytes of digests kept for a page; what does not fit is read when its turn comes */
    FETCH_HEADER_MAX = 1 << 20,    /* bytes of a header that HEADER.FIELDS looks through */
    FETCH_DECODE_BYTES = 48 << 10, /* of encoded text at a time for BINARY */
};

/* Where the digest of an entry lies in `digests`. */
struct fetch_digest {
    size_t at, n; /* n 0: not read */
};

/* A part of the answer that may be longer than the output: bytes of the message, bytes in memory, or decoded bytes. */
enum fetch_stream { FETCH_STREAM_NONE, FETCH_STREAM_MESSAGE, FETCH_STREAM_MEMORY, FETCH_STREAM_DECODED };

struct fetch {
    struct imap_fetch what;
    struct uidset uids;     /* to answer */
    struct uidset told;     /* \Seen was set by this command: their flags are told too */
    struct uidset vanished; /* to say first (RFC 7162 3.2.6) */
    uint64_t vanished_at;
    bool needs_digest, add_uid, add_modseq;
    uint64_t missing; /* messages that another session expunged meanwhile */
    uint64_t wanted;

    struct message_entry page[FETCH_PAGE];
    struct fetch_digest places[FETCH_PAGE];
    size_t page_n, page_at;
    uint32_t next_uid; /* 0: no more pages */
    uint32_t last_uid, last_sequence;
    struct buf digests;

    bool open;   /* "* n FETCH (" is written */
    bool spaced; /* an item was written */
    size_t item;
    struct digest digest; /* of the current message */
    bool has_digest, digest_failed;

    enum fetch_stream stream;
    struct str memory;     /* MEMORY: what is left */
    uint64_t offset, left; /* MESSAGE, DECODED: of the message */
    struct transfer_decoder decoder;
    uint64_t skip, take; /* DECODED: bytes of the result to leave out, and then to write */
    struct buf scratch;  /* header fields, decoded pieces */
    struct buf one;      /* a digest that did not fit */
    struct err err;      /* why the command ends early */
};

/* The digest of the current message; false: it cannot be had (f->err). */
bool fetch_need_digest(struct imap_session *s, struct fetch *f);

enum fetch_step { FETCH_NEXT, FETCH_ROOM, FETCH_FAILED, FETCH_BROKEN };
/* Writes a section item (label, literal head), and sets up f->stream for its bytes. FAILED: f->err, nothing was written. */
enum fetch_step fetch_section(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item);
/* Writes as much of f->stream as there is room for. ROOM: more is left. BROKEN: a literal cannot be finished; the connection must
 * end. */
enum fetch_step fetch_stream(struct imap_session *s, struct fetch *f);

#endif
