/* Message headers (RFC 5322 2.2, 3.6): fields without copying, unfolding, encoded-words (RFC 2047), parameters (RFC 2231),
 * structured tokens. Tolerant of bare LF line ends and of any bytes; nothing here fails because of input. Pure functions, any
 * thread. Results are views into the input unless an arena or buf is given. */
#ifndef FORMAT_HEADER_H
#define FORMAT_HEADER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/rd.h"

/* Bytes of the header section including the empty line that ends it: the offset of the body. The whole message if there is no empty
 * line. Linear. */
size_t header_length(struct str message);

struct header_field {
    struct str raw;   /* the whole field with its line ends */
    struct str name;  /* without spaces before the colon; empty: a line that is no field (mbox "From ", junk) */
    struct str value; /* behind the colon, folds kept, without the last line end */
    size_t offset;    /* of raw in the header */
};

struct header_iter {
    struct str header;
    size_t at;
};

/* `header` may be a whole message: the walk ends at the empty line. */
void header_first(struct header_iter *it, struct str header);
bool header_next(struct header_iter *it, struct header_field *field);
/* The first field of that name (ASCII case-insensitive). */
bool header_find(struct str header, struct str name, struct header_field *field);
/* At most `max` fields of that name are counted. */
size_t header_count(struct str header, struct str name, size_t max);

/* Appends the value without the line ends of folds and without white space around it. Byte for byte otherwise. */
void header_unfold(struct str value, struct buf *out);
/* The same as a view when there is no fold, else in the arena (p NULL: no memory). */
struct str header_unfolded(struct arena *arena, struct str value);

/* ---- text in headers ---- */

/* Appends an unstructured value (Subject) or a phrase as UTF-8: unfolded, encoded-words decoded (white space between two of them
 * dropped, RFC 2047 6.2; multibyte characters split over words joined), raw 8-bit kept if it is UTF-8 and else taken as
 * windows-1252. Control characters become spaces. Always valid UTF-8. */
void header_decode(struct str value, struct buf *out);
/* Appends UTF-8 text for an unstructured field or a phrase: as it is when it is plain ASCII that needs no encoding, else as
 * encoded-words of at most 75 bytes, folded. `column` is where on the line the text begins. header_decode() gives the text back. */
void header_encode(struct str utf8, size_t column, struct buf *out);
/* One encoded-word at the start of s: its length and parts, or 0. */
struct header_word {
    struct str charset, language, text;
    char encoding; /* 'B' or 'Q' */
};
size_t header_word_parse(struct str s, struct header_word *word);

/* ---- structured fields ---- */

enum header_token_kind { HEADER_END, HEADER_ATOM, HEADER_QUOTED, HEADER_LITERAL, HEADER_SPECIAL };
struct header_token {
    enum header_token_kind kind;
    struct str text; /* QUOTED: between the quotes, still with backslashes; LITERAL: with brackets; SPECIAL: one byte */
};
/* Takes the next token, skipping white space, folds and comments (nested, RFC 5322 3.2.2; an unclosed one ends with the text).
 * `specials` are the bytes that stand alone and end an atom; '(' and '"' always do. Adds a comment's text to *comment if not NULL.
 */
struct header_token header_token_next(struct rd *r, struct str specials, struct str *comment);
#define HEADER_SPECIALS_5322 STR("()<>[]:;@\\,.\"")
#define HEADER_SPECIALS_MIME STR("()<>@,;:\\\"/[]?=") /* RFC 2045 5.1 tspecials */

/* Without backslashes of quoted-pairs and without fold line ends; a view if there are none. p NULL: no memory. */
struct str header_unquoted(struct arena *arena, struct str text);
/* Appends s as quoted-string. CR, LF and NUL are left out. */
void header_quote(struct str s, struct buf *out);
bool header_is_token(struct str s); /* RFC 2045 token: needs no quoting */

struct header_param { /* as written, so that BODYSTRUCTURE can show it: name*0*, name*, ... */
    struct header_param *next;
    struct str name;
    struct str value; /* unquoted */
};

struct header_content {
    struct str type, subtype; /* as written; Content-Disposition has no subtype. Empty: the field is malformed */
    struct header_param *params;
    size_t param_count; /* those beyond the maximum are dropped */
};

/* Content-Type, Content-Disposition, and other fields of this shape. False: no usable type (defaults apply; RFC 2045 5.2). */
bool header_content_parse(struct arena *arena, struct str value, size_t params_max, struct header_content *out);
/* A parameter as UTF-8: RFC 2231 continuations and charsets put together, also encoded-words where a plain value wrongly has them.
 * n 0 and p NULL: absent. */
struct str header_param_find(struct arena *arena, const struct header_param *params, struct str name);
/* A parameter as written, no decoding (boundary, charset, format). */
struct str header_param_raw(const struct header_param *params, struct str name);
/* Appends "; name=value": a token, quoted-string, or RFC 2231 form as needed. */
void header_param_print(struct str name, struct str value_utf8, struct buf *out);

/* Message-ID, References, In-Reply-To, Content-ID: takes the next id from the value, without the angle brackets; other words
 * are skipped. False: no more. */
bool header_msg_id_next(struct str *rest, struct str *id);

#endif
