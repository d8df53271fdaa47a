/* Mail data on the wire (RFC 5321 4.5.2): the decoder of DATA with its one and only end CRLF.CRLF, and the dot-stuffing encoder of
 * the SMTP client and of POP3. Streaming: pieces cut anywhere give the same as all at once. One owner. */
#ifndef FORMAT_DOT_H
#define FORMAT_DOT_H

#include "base/buf.h"

enum dot_fault {
    DOT_BARE_CR = 1 << 0,
    DOT_BARE_LF = 1 << 1, /* with DOT_BARE_CR what SMTP smuggling is made of; the server refuses such a message at its end */
    DOT_NUL = 1 << 2,
    DOT_LONG_LINE = 1 << 3,
};
enum { DOT_FAULTS = 4 };

struct dot_decoder {
    int state;
    bool done;                     /* CRLF.CRLF was seen */
    unsigned faults;               /* enum dot_fault bits that occurred */
    uint64_t fault_at[DOT_FAULTS]; /* offset in the decoded data of the first of each, by bit number */
    uint64_t size;                 /* decoded bytes so far */
    uint64_t lines;
    size_t line;     /* bytes in the current line */
    size_t line_max; /* with CRLF; RFC 5321 4.5.3.1.6: 1000. Longer lines are a fault but pass */
    bool eight_bit;  /* some byte was not ASCII */
};

void dot_decoder_init(struct dot_decoder *d, size_t line_max);
/* Takes from the front of *in and gives one run of decoded bytes, a view into the input (or static). False: *in is used up, or the
 * end was reached (d->done; *in is what the client sent behind it). A run may be empty only when false. */
bool dot_decode_next(struct dot_decoder *d, struct str *in, struct str *piece);
/* The same into a buf; returns how many bytes of `in` were used. Past the buf's maximum the data is still scanned to its end. */
size_t dot_decode(struct dot_decoder *d, struct str in, struct buf *out);
const char *dot_fault_name(enum dot_fault f); /* "bare CR", ... */

struct dot_encoder {
    bool line_start, cr; /* where the last piece ended */
    bool normalise;      /* bare CR and bare LF become CRLF: SMTP must not carry them (RFC 5321 2.3.8) */
};

void dot_encoder_init(struct dot_encoder *e, bool normalise);
void dot_encode(struct dot_encoder *e, struct str in, struct buf *out);
/* The same for bytes that `out` has from `from` on, of which only what is behind a stuffed dot moves; never for
 * `normalise`. */
void dot_encode_in_place(struct dot_encoder *e, struct buf *out, size_t from);
/* CRLF if the data did not end with one, then ".CRLF". */
void dot_encode_end(struct dot_encoder *e, struct buf *out);

#endif
