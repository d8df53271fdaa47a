/* Content-transfer-encodings (RFC 2045 6), streaming with bounded memory: feed pieces cut anywhere, the result is the same as all
 * at once. Decoders take any bytes and never fail; what is not of the encoding is skipped (base64) or kept (quoted-printable) and
 * counted as damage. Pure functions; one owner for each struct. */
#ifndef FORMAT_TRANSFER_H
#define FORMAT_TRANSFER_H

#include "base/buf.h"

enum transfer_encoding { TRANSFER_7BIT, TRANSFER_8BIT, TRANSFER_BINARY, TRANSFER_QP, TRANSFER_BASE64, TRANSFER_UNKNOWN };

/* By the value of Content-Transfer-Encoding (spaces and comments around allowed); empty is 7BIT. */
enum transfer_encoding transfer_encoding_find(struct str value);
struct str transfer_encoding_name(enum transfer_encoding e); /* "7bit", ...; UNKNOWN is "binary" */
/* The bytes in the message are the content itself. */
static inline bool transfer_is_identity(enum transfer_encoding e)
{
    return e == TRANSFER_7BIT || e == TRANSFER_8BIT || e == TRANSFER_BINARY;
}

struct transfer_decoder {
    enum transfer_encoding encoding;
    uint32_t bits;  /* base64: collected; quoted-printable: bytes held */
    unsigned count; /* of them */
    char held[80];  /* quoted-printable: a run that may turn out to be the end of a line */
    size_t damage;  /* bytes that are not of the encoding */
};

void transfer_decoder_init(struct transfer_decoder *d, enum transfer_encoding encoding);
void transfer_decode(struct transfer_decoder *d, struct str in, struct buf *out);
void transfer_decode_end(struct transfer_decoder *d, struct buf *out); /* what was held back */
/* All at once. False: there was damage. */
bool transfer_decode_all(enum transfer_encoding encoding, struct str in, struct buf *out);

struct transfer_encoder {
    enum transfer_encoding encoding; /* TRANSFER_BASE64, TRANSFER_QP, or an identity */
    bool text;                       /* quoted-printable: CRLF in the input are line ends and stay */
    char held[3];                    /* base64: bytes of an unfinished group; quoted-printable: a byte that waits for the next */
    unsigned count;
    size_t column;
};

void transfer_encoder_init(struct transfer_encoder *t, enum transfer_encoding encoding, bool text);
void transfer_encode(struct transfer_encoder *t, struct str in, struct buf *out);
void transfer_encode_end(struct transfer_encoder *t, struct buf *out); /* base64: padding and a last CRLF */

#endif
