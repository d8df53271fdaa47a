/* Character sets: any charset to UTF-8 (through ICU), cleaning, and folding for search. Never fails because of input: an unknown
 * charset is taken as UTF-8 or windows-1252, whatever fits, and broken bytes become U+FFFD. Output is bounded by the buf's maximum.
 * Any thread. Transfer encodings (quoted-printable, base64) are in transfer.h, which this header brings along. */
#ifndef FORMAT_CHARSET_H
#define FORMAT_CHARSET_H

#include "base/buf.h"
#include "format/transfer.h"

/* ICU or Postrider itself can convert it ("utf-8", "iso-2022-jp", "cp932", ...). Empty: false. */
bool charset_known(struct str charset);

/* Appends bytes as UTF-8. charset empty or unknown: UTF-8 if the bytes are that, else windows-1252. us-ascii with 8-bit bytes
 * likewise (that is what is meant in the wild). When the buf is full, what fits is kept. */
void charset_to_utf8(struct str charset, struct str bytes, struct buf *out);

/* Streaming, for bodies: pieces cut anywhere. Owned by the caller; close frees ICU's converter. */
struct charset_decoder {
    void *converter; /* NULL: UTF-8 (also for us-ascii and unknown) */
    char held[4];    /* an unfinished UTF-8 sequence */
    unsigned count;
    bool latin; /* unknown charset whose bytes are not UTF-8 */
};
void charset_decoder_open(struct charset_decoder *d, struct str charset);
void charset_decode(struct charset_decoder *d, struct str bytes, struct buf *out);
void charset_decode_end(struct charset_decoder *d, struct buf *out);
void charset_decoder_close(struct charset_decoder *d);

/* Appends s with every byte that is not part of valid UTF-8 replaced by U+FFFD. */
void charset_clean(struct str s, struct buf *out);
/* At most max bytes of valid UTF-8 text, not cutting a character (a grapheme may be cut). */
struct str charset_cut(struct str utf8, size_t max);

/* Appends the key by which texts are compared and searched (i;unicode-casemap, RFC 5051): titlecase mapping, then compatibility
 * decomposition. fold(a) contains fold(b) is "substring". Invalid UTF-8 is cleaned first. ASCII takes a short way. */
void charset_fold(struct str utf8, struct buf *out);
/* i;ascii-casemap (RFC 4790 9.2): ASCII letters to upper case, all else as it is. */
void charset_fold_ascii(struct str s, struct buf *out);
/* Lower case and NFC, for names that are looked up (addresses, accounts). Invalid UTF-8 is copied. */
void charset_lower(struct str utf8, struct buf *out);

#endif
