/* What a submission agent repairs in the header of weak clients (RFC 6409 8): missing Date, Message-ID, From, Sender; Bcc removed;
 * bare addresses qualified. Fields that need no repair stay byte for byte. Pure, any thread. */
#ifndef FORMAT_REPAIR_H
#define FORMAT_REPAIR_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "format/date.h"

struct repair_facts {
    struct str
        submitter;     /* address of the authenticated sender, printed: becomes From or Sender; empty: unknown, neither is added */
    struct str name;   /* display name for a From that has to be made, UTF-8, or empty */
    struct str domain; /* qualifies bare local-parts; empty: they stay */
    struct str host;   /* right side of a new Message-ID */
    struct str unique; /* left side of a new Message-ID: unguessable, unique; dot-atom */
    struct date now;   /* with the zone of this server or, if known, of the user */
    bool check_sender; /* add Sender when From names somebody else (RFC 6409 8.1) */
};

enum repair_change {
    REPAIR_DATE = 1 << 0,
    REPAIR_MESSAGE_ID = 1 << 1,
    REPAIR_FROM = 1 << 2,
    REPAIR_SENDER = 1 << 3,
    REPAIR_BCC = 1 << 4,
    REPAIR_QUALIFIED = 1 << 5,
    REPAIR_BLANK_LINE = 1 << 6,  /* the header had no empty line behind it, or there was no header at all */
    REPAIR_RETURN_PATH = 1 << 7, /* taken off: only final delivery makes one (RFC 5321 4.4) */
};

struct repair_result {
    unsigned changes;      /* enum repair_change bits; 0: the output equals the input */
    size_t body_offset;    /* in the old message: header out + message from here = the repaired message */
    struct str message_id; /* with brackets; view into *out or the message */
};

/* Appends the new header with its empty line to *out, which must be empty. ST_LIMIT: arena or buf used up, or too many fields. */
enum st repair_header(struct arena *scratch, struct str message, const struct repair_facts *facts, struct buf *out,
                      struct repair_result *result, struct err *e) MUST_USE;

#endif
