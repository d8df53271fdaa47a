/* The record's layout, shared by writer and reader; doc/formats/digest.md is its description. Private to format/digest*.c. */
#ifndef FORMAT_DIGEST_INTERNAL_H
#define FORMAT_DIGEST_INTERNAL_H

#include "format/digest.h"
#include "format/mime.h"

/* Fixed part, little-endian: magic, flags, message size, header bytes, zone, reserved, sent, counts, then the length of each
 * section; the sections follow one another. */
enum { DIGEST_MAGIC = 0x31445250 /* "PRD1" */, DIGEST_FIXED = 48 };

enum digest_section {
    DIGEST_S_ENVELOPE,
    DIGEST_S_BODY,
    DIGEST_S_BODYSTRUCTURE,
    DIGEST_S_SUBJECT_BASE,
    DIGEST_S_FROM_KEY,
    DIGEST_S_TO_KEY,
    DIGEST_S_CC_KEY,
    DIGEST_S_FROM_DISPLAY,
    DIGEST_S_TO_DISPLAY,
    DIGEST_S_MESSAGE_ID,
    DIGEST_S_PREVIEW,
    DIGEST_S_HEADER,
    DIGEST_S_IDS,
    DIGEST_S_PARTS,
    DIGEST_S_FIELDS,
    DIGEST_SECTIONS,
};

enum { /* first byte of a part */
       DIGEST_P_KIND = 3,
       DIGEST_P_MESSAGE = 4,
       DIGEST_P_ATTACHMENT = 8,
};

/* A preview of the text (RFC 8970), UTF-8, one line, at most DIGEST_PREVIEW_MAX bytes, appended. */
void digest_preview(struct str message, const struct mime_tree *tree, struct buf *out);
/* Is the leaf what a person would call an attachment? */
bool digest_is_attachment(const struct mime_part *part);

#endif
