/* MIME structure (RFC 2045, 2046): a whole message parsed once, in one pass over its bytes, into a tree in an arena. Any bytes give
 * a tree; nothing fails but memory. Offsets are from the start of the message. Texts are views into the message or live in the
 * arena. Pure, any thread. */
#ifndef FORMAT_MIME_H
#define FORMAT_MIME_H

#include "base/arena.h"
#include "format/header.h"
#include "format/transfer.h"

/* Beyond a limit the rest of the message is one opaque part (no structure inside it). */
struct mime_limits {
    size_t depth;         /* nested multiparts and messages */
    size_t parts;         /* in the whole message */
    size_t header_bytes;  /* of one part's header that are looked at */
    size_t header_fields; /* of one part that are looked at */
    size_t params;        /* of one field */
};
#define MIME_LIMITS_DEFAULT                                                                                                        \
    ((struct mime_limits){.depth = 50, .parts = 2000, .header_bytes = 1 << 20, .header_fields = 2000, .params = 100})

enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE };

/* The raw values (folded, undecoded) of the fields that ENVELOPE shows; p NULL: absent. The first one of each counts. */
struct mime_envelope {
    struct str date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id;
};

struct mime_part {
    struct mime_part *parent, *first_child, *next;
    enum mime_kind kind;
    struct str type, subtype; /* as written, defaults filled in: text/plain, in a digest message/rfc822 */
    struct header_param *params, *disposition_params;
    struct str id, description, encoding_text, md5, disposition, location; /* unfolded; empty: absent; id with its brackets */
    struct str languages;                                                  /* value of Content-Language, unfolded */
    enum transfer_encoding encoding;
    bool has_mime_version, has_content_type;
    size_t header_offset, header_length;  /* with the empty line */
    size_t body_offset, body_length;      /* without the line end that belongs to the boundary */
    uint64_t lines;                       /* LFs in the body */
    const struct mime_envelope *envelope; /* of the root, and of each child of a MIME_MESSAGE part */
};

struct mime_tree {
    struct mime_part *root; /* the message itself; NULL: out of memory */
    size_t parts;
    bool limited; /* a limit was reached: some part is opaque */
};

/* kind MIME_MESSAGE (message/rfc822, message/global) has exactly one child: the nested message's root. A MIME_MULTIPART may have
 * none (no boundary, or it never occurs). Returns false when the arena was used up: *out is what there is, root may be NULL. */
bool mime_parse(struct arena *arena, struct str message, const struct mime_limits *limits, struct mime_tree *out);

/* By IMAP part numbers (RFC 9051 6.4.5): "1.2" is {1, 2}; no numbers is the root. Part 1 of a message that is no multipart is
 * its body. NULL: not there. */
const struct mime_part *mime_part_find(const struct mime_tree *tree, const uint32_t *path, size_t n);

/* Is it of this type? Case-insensitive; subtype empty: any. */
bool mime_is(const struct mime_part *part, struct str type, struct str subtype);
/* filename of Content-Disposition, else name of Content-Type, as UTF-8; n 0: none. */
struct str mime_filename(struct arena *arena, const struct mime_part *part);
/* Appends up to max bytes of a text part as UTF-8: transfer encoding and charset removed. */
void mime_text(struct str message, const struct mime_part *part, struct buf *out);

#endif
