/* The stored digest: everything about a message that reading, listing, sorting and threading need, computed once when it comes in.
 * An immutable, versioned binary record (doc/formats/digest.md). Building parses the message once; opening is a bounds check and
 * costs no allocation: struct digest and all it gives are views into the record. Corrupt bytes give ST_CORRUPT or "not found",
 * never more. Any thread. */
#ifndef FORMAT_DIGEST_H
#define FORMAT_DIGEST_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "format/transfer.h"

enum {
    DIGEST_VERSION = 1,
    DIGEST_HEADER_MAX = 8192,    /* a top-level header up to this size is in the record as a whole */
    DIGEST_PREVIEW_MAX = 256,    /* bytes of UTF-8 */
    DIGEST_SIZE_MAX = 1 << 20,   /* bytes; what grows with hostile input is cut before */
    DIGEST_REFERENCES_MAX = 200, /* ids; of more, the first and the last ones count */
};

enum digest_flag {
    DIGEST_ATTACHMENT = 1 << 0,   /* has a part that a person would call an attachment */
    DIGEST_LIMITED = 1 << 1,      /* MIME limits were reached; the structure is cut */
    DIGEST_HEADER_WHOLE = 1 << 2, /* `header` is there */
    DIGEST_HAS_DATE = 1 << 3,     /* the Date: field could be read */
    DIGEST_8BIT = 1 << 4,         /* some byte of the header is not ASCII */
    DIGEST_FIELDS_CUT = 1 << 6,   /* there are more header fields than the record lists: read the message instead */
    DIGEST_REPLY = 1 << 5,        /* the subject is a reply or forward (RFC 5256 2.1) */
};

struct digest {
    unsigned flags;
    uint64_t size;         /* of the message, bytes */
    uint32_t header_bytes; /* of the top-level header with its empty line */
    int64_t sent_s;        /* Date:, epoch seconds; 0 without */
    int16_t sent_zone_min;
    struct str envelope, body, bodystructure; /* IMAP text, ready to send */
    struct str subject_base;                  /* RFC 5256 2.1, UTF-8, folded (charset_fold): a sort key */
    struct str from_key, to_key, cc_key;      /* RFC 5256 sort keys: local-part of the first address, folded */
    struct str from_display, to_display;      /* RFC 5957: display name or address, UTF-8, folded */
    struct str message_id;                    /* without brackets; empty: none */
    struct str preview;                       /* UTF-8, at most DIGEST_PREVIEW_MAX */
    struct str header;                        /* the top-level header, or empty if it is larger than DIGEST_HEADER_MAX */
    struct str ids_, parts_, fields_;         /* tables, for the functions below */
    uint32_t id_count, part_count, field_count;
};

/* Appends the record. ST_LIMIT: out of memory (or *out full). Any bytes are a message. */
enum st digest_build(struct str message, struct buf *out, struct err *e) MUST_USE;
/* Views into record, which must stay. */
enum st digest_open(struct str record, struct digest *out, struct err *e) MUST_USE;

enum { DIGEST_PATH_MAX = 64 };

struct digest_part {
    bool message;    /* an RFC 5322 message: the whole one, or one nested in a message/rfc822 part */
    uint8_t kind;    /* enum mime_kind */
    bool attachment; /* what a person would call one */
    enum transfer_encoding encoding;
    uint32_t header_offset, header_bytes; /* in the message, with the empty line */
    uint32_t body_offset, body_bytes, lines;
    uint32_t path[DIGEST_PATH_MAX]; /* IMAP part numbers; a message that is a multipart has none of its own: those of its enclosing
                                       part */
    uint32_t path_count;
    struct str type, subtype, charset; /* lower case; charset empty if none */
    struct str filename;               /* UTF-8, cut at 255 bytes */
    struct str content_id;             /* without brackets, cut at 255 bytes */
};

/* The part with these IMAP numbers (RFC 9051 6.4.5), as BODY[1.2], BODY[1.2.MIME] and BINARY want it; n 0 is the whole message. Of
 * a message/rfc822 part, header_* are its MIME header and body_* the nested message. False: not there. */
bool digest_part_find(const struct digest *d, const uint32_t *path, size_t n, struct digest_part *part);
/* The message nested in the message/rfc822 part with these numbers, as BODY[2.HEADER] and BODY[2.TEXT] want it; n 0 is the whole
 * message. header_* are its RFC 5322 header, body_* its text. */
bool digest_message_find(const struct digest *d, const uint32_t *path, size_t n, struct digest_part *part);
/* All of them, in the order of the message; *at starts at 0. */
bool digest_part_next(const struct digest *d, uint32_t *at, struct digest_part *part);

struct digest_field {
    struct str name;        /* as written, at most 255 bytes */
    uint32_t offset, bytes; /* of the whole field with its line ends, in the message */
};
/* Top-level header fields in order. With DIGEST_FIELDS_CUT the list is not complete. */
struct digest_fields {
    uint32_t at, offset;
};
void digest_fields_first(struct digest_fields *it);
bool digest_fields_next(const struct digest *d, struct digest_fields *it, struct digest_field *field);
/* The next one of that name (case-insensitive). */
bool digest_fields_find(const struct digest *d, struct str name, struct digest_fields *it, struct digest_field *field);

/* References, then In-Reply-To ids that are not among them, oldest first, without brackets (RFC 5256 3: threading). */
bool digest_reference_next(const struct digest *d, uint32_t *at, struct str *id);

/* RFC 5256 2.1 base subject of a raw Subject value, appended as UTF-8 (not folded). True: it was a reply or forward. */
bool digest_base_subject(struct str raw_value, struct buf *out);

#endif
