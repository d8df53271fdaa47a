#include "format/charset.h"

#include "base/err.h"
#include "format/utf8.h"

#include <unicode/uchar.h>
#include <unicode/ucnv.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

enum { NAME_MAX_BYTES = 60, PIVOT = 1024, LOWER_MAX = 16 << 10 };

/* What mail calls a charset is often what a superset of it really is (the same choices browsers make). */
static const struct {
    const char *mail, *really;
} aliases[] = {
    {"utf8", "utf-8"},
    {"unicode-1-1-utf-8", "utf-8"},
    {"ascii", "us-ascii"},
    {"ansi_x3.4-1968", "us-ascii"},
    {"iso-8859-1", "windows-1252"},
    {"iso8859-1", "windows-1252"},
    {"latin1", "windows-1252"},
    {"latin-1", "windows-1252"},
    {"cp1252", "windows-1252"},
    {"iso-8859-9", "windows-1254"},
    {"iso-8859-11", "windows-874"},
    {"tis-620", "windows-874"},
    {"iso-8859-8-i", "iso-8859-8"},
    {"iso-8859-8-e", "iso-8859-8"},
    {"iso-8859-6-i", "iso-8859-6"},
    {"iso-8859-6-e", "iso-8859-6"},
    {"gb2312", "gb18030"},
    {"gbk", "gb18030"},
    {"gb_2312-80", "gb18030"},
    {"x-gbk", "gb18030"},
    {"shift_jis", "windows-31j"},
    {"shift-jis", "windows-31j"},
    {"x-sjis", "windows-31j"},
    {"sjis", "windows-31j"},
    {"cp932", "windows-31j"},
    {"euc-kr", "windows-949"},
    {"ks_c_5601-1987", "windows-949"},
    {"ks_c_5601", "windows-949"},
    {"ksc5601", "windows-949"},
    {"x-windows-949", "windows-949"},
    {"iso-2022-jp-ms", "iso-2022-jp-2"},
    {"cp50220", "iso-2022-jp-2"},
    {"unicode-1-1-utf-7", "utf-7"},
    {"x-unicode-2-0-utf-7", "utf-7"},
};

enum kind { KIND_UTF8, KIND_ASCII, KIND_LATIN, KIND_ICU, KIND_UNKNOWN };

/* name: at least NAME_MAX_BYTES + 1 bytes; gets what ICU is asked for. */
static enum kind kind_of(struct str charset, char *name)
{
    charset = str_trim(charset);
    if (charset.n >= 2 && (charset.p[0] == '"' || charset.p[0] == '\''))
        charset = str_sub(charset, 1, charset.n - 2);
    if (charset.n == 0 || charset.n > NAME_MAX_BYTES)
        return KIND_UNKNOWN;
    for (size_t i = 0; i < charset.n; i++) {
        char c = ascii_lower(charset.p[i]);
        if (!ascii_alpha(c) && !ascii_digit(c) && !(c && strchr("-_.:+", c)))
            return KIND_UNKNOWN;
        name[i] = c;
    }
    name[charset.n] = '\0';
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (str_eq(str_of(name), str_of(aliases[i].mail))) {
            memcpy(name, aliases[i].really, strlen(aliases[i].really) + 1);
            break;
        }
    }
    struct str s = str_of(name);
    if (str_eq(s, STR("utf-8")))
        return KIND_UTF8;
    if (str_eq(s, STR("us-ascii")))
        return KIND_ASCII;
    return str_eq(s, STR("windows-1252")) ? KIND_LATIN : KIND_ICU;
}

bool charset_known(struct str charset)
{
    char name[NAME_MAX_BYTES + 1];
    enum kind kind = kind_of(charset, name);
    if (kind != KIND_ICU)
        return kind != KIND_UNKNOWN;
    UErrorCode error = U_ZERO_ERROR;
    UConverter *c = ucnv_open(name, &error);
    ucnv_close(c);
    return U_SUCCESS(error);
}

/* Appends as much of valid UTF-8 as there is room for. */
static void add_fitting(struct str utf8, struct buf *out)
{
    if (utf8.n > buf_room(out)) {
        buf_add(out, charset_cut(utf8, buf_room(out)));
        out->failed = true;
        return;
    }
    buf_add(out, utf8);
}

struct str charset_cut(struct str utf8, size_t max)
{
    if (utf8.n <= max)
        return utf8;
    while (max && ((unsigned char)utf8.p[max] & 0xc0) == 0x80)
        max--;
    return str_upto(utf8, max);
}

static void add_char(UChar32 c, struct buf *out)
{
    char t[4];
    buf_add(out, (struct str){t, utf8_encode((uint32_t)c, t)});
}

/* Bytes 0x80..0x9f of windows-1252; 0 is undefined. */
static const uint16_t latin_high[32] = {0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
                                        0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
                                        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};

static size_t ascii_run(struct str s)
{
    size_t n = 0;
    for (uint64_t word; s.n - n >= sizeof word; n += sizeof word) {
        memcpy(&word, s.p + n, sizeof word);
        if (word & 0x8080808080808080u)
            break;
    }
    while (n < s.n && (unsigned char)s.p[n] < 0x80)
        n++;
    return n;
}

static void latin_to_utf8(struct str s, struct buf *out)
{
    while (s.n && buf_ok(out)) {
        size_t n = ascii_run(s);
        add_fitting(str_upto(s, n), out);
        s = str_from(s, n);
        if (s.n == 0)
            return;
        unsigned char c = (unsigned char)s.p[0];
        UChar32 u = c >= 0xa0 ? c : latin_high[c - 0x80];
        add_char(u ? u : 0xfffd, out);
        s = str_from(s, 1);
    }
}

/* Copies valid UTF-8, U+FFFD for the rest. Returns how many bytes at the end are the beginning of a character (0 if all is done).
 */
static size_t clean(struct str s, struct buf *out)
{
    while (s.n && buf_ok(out)) {
        size_t n = ascii_run(s), broken = 0;
        uint32_t c;
        bool cut = false;
        while (n < s.n) {
            size_t one = utf8_decode(str_from(s, n), &c, &broken, &cut);
            if (one == 0)
                break;
            n += one;
        }
        add_fitting(str_upto(s, n), out);
        s = str_from(s, n);
        if (s.n == 0)
            return 0;
        if (cut)
            return s.n;
        add_char(0xfffd, out);
        s = str_from(s, broken);
    }
    return 0;
}

void charset_clean(struct str s, struct buf *out)
{
    if (clean(s, out))
        add_char(0xfffd, out);
}

/* ---- ICU ---- */

/* flush: no more bytes follow. */
static void icu_convert(UConverter *c, struct str bytes, bool flush, struct buf *out)
{
    const char *from = bytes.p ? bytes.p : "", *end = from + bytes.n;
    UChar pivot[PIVOT] = {0};
    UErrorCode error;
    do {
        UChar *to = pivot;
        error = U_ZERO_ERROR;
        ucnv_toUnicode(c, &to, pivot + PIVOT - 1, &from, end, NULL, flush, &error);
        int32_t n = (int32_t)(to - pivot);
        if (error == U_BUFFER_OVERFLOW_ERROR && n && U16_IS_LEAD(pivot[n - 1])) { /* its trail waits in the converter */
            UErrorCode again = U_ZERO_ERROR;
            ucnv_toUnicode(c, &to, pivot + PIVOT, &from, from, NULL, false, &again);
            n = (int32_t)(to - pivot);
        }
        for (int32_t i = 0; i < n;) {
            UChar32 u;
            U16_NEXT(pivot, i, n, u);
            add_char(U_IS_SURROGATE(u) ? 0xfffd : u, out);
        }
    } while (error == U_BUFFER_OVERFLOW_ERROR && buf_ok(out));
    if (U_FAILURE(error) &&
        error != U_BUFFER_OVERFLOW_ERROR) { /* illegal bytes are substituted by ICU; this is their truncated end */
        add_char(0xfffd, out);
        ucnv_resetToUnicode(c);
    }
}

static UConverter *icu_open(const char *name)
{
    UErrorCode error = U_ZERO_ERROR;
    UConverter *c = ucnv_open(name, &error);
    return U_SUCCESS(error) ? c : NULL;
}

void charset_decoder_open(struct charset_decoder *d, struct str charset)
{
    char name[NAME_MAX_BYTES + 1];
    *d = (struct charset_decoder){0};
    enum kind kind = kind_of(charset, name);
    d->latin = kind == KIND_LATIN;
    if (kind == KIND_ICU)
        d->converter = icu_open(name);
}

void charset_decode(struct charset_decoder *d, struct str bytes, struct buf *out)
{
    if (d->converter) {
        icu_convert(d->converter, bytes, false, out);
        return;
    }
    if (d->latin) {
        latin_to_utf8(bytes, out);
        return;
    }
    while (d->count && bytes.n) { /* at most 3 bytes until the held character is decided */
        d->held[d->count++] = bytes.p[0];
        bytes = str_from(bytes, 1);
        char held[4];
        memcpy(held, d->held, sizeof held);
        size_t left = clean((struct str){held, d->count}, out);
        memmove(d->held, held + d->count - left, left);
        d->count = (unsigned)left;
    }
    size_t left = clean(bytes, out);
    if (left) {
        memcpy(d->held, bytes.p + bytes.n - left, left);
        d->count = (unsigned)left;
    }
}

void charset_decode_end(struct charset_decoder *d, struct buf *out)
{
    if (d->converter)
        icu_convert(d->converter, STR_NONE, true, out);
    if (d->count)
        add_char(0xfffd, out);
    d->count = 0;
}

void charset_decoder_close(struct charset_decoder *d)
{
    ucnv_close(d->converter);
    *d = (struct charset_decoder){0};
}

void charset_to_utf8(struct str charset, struct str bytes, struct buf *out)
{
    char name[NAME_MAX_BYTES + 1];
    if (bytes.n == 0)
        return;
    enum kind kind = kind_of(charset, name);
    UConverter *c = kind == KIND_ICU ? icu_open(name) : NULL;
    if (c) {
        icu_convert(c, bytes, true, out);
        ucnv_close(c);
    } else if (kind == KIND_LATIN || (kind != KIND_UTF8 && !str_is_utf8(bytes))) {
        latin_to_utf8(bytes, out);
    } else {
        charset_clean(bytes, out);
    }
}

/* ---- folding ---- */

/* Eight bytes at once: adding carries into the top bit of a byte from 'a' on, and from 'z' + 1 on; a letter has the one and not the
 * other. Bytes with their top bit set stay. */
static uint64_t upper_8(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, top = ones << 7;
    uint64_t seven = word & ~top;
    uint64_t letter = (seven + ones * (0x80 - 'a')) & ~(seven + ones * (0x7f - 'z')) & ~word & top;
    return word - (letter >> 2);
}

void charset_fold_ascii(struct str s, struct buf *out)
{
    char *to = buf_reserve(out, s.n);
    size_t i = 0;
    if (!to)
        return;
    for (uint64_t word; s.n - i >= sizeof word; i += sizeof word) {
        memcpy(&word, s.p + i, sizeof word);
        word = upper_8(word);
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < s.n; i++)
        to[i] = ascii_upper(s.p[i]);
    buf_grew(out, s.n);
}

/* RFC 5051 2: titlecase by the simple mapping, then full compatibility decomposition. */
static void fold_char(const UNormalizer2 *nfkd, UChar32 c, struct buf *out)
{
    UChar32 title = u_totitle(c);
    UChar parts[32];
    UErrorCode error = U_ZERO_ERROR;
    int32_t n = nfkd ? unorm2_getDecomposition(nfkd, title, parts, 32, &error) : -1;
    if (n < 0 || U_FAILURE(error)) {
        add_char(title, out);
        return;
    }
    for (int32_t i = 0; i < n;) {
        UChar32 u;
        U16_NEXT(parts, i, n, u);
        add_char(u, out);
    }
}

void charset_fold(struct str utf8, struct buf *out)
{
    UErrorCode error = U_ZERO_ERROR;
    const UNormalizer2 *nfkd = NULL;
    while (utf8.n && buf_ok(out)) {
        size_t n = ascii_run(utf8), broken = 0;
        size_t fits = n < buf_room(out) ? n : buf_room(out);
        charset_fold_ascii(str_upto(utf8, fits), out);
        out->failed |= fits < n;
        utf8 = str_from(utf8, n);
        if (utf8.n == 0)
            return;
        if (!nfkd)
            nfkd = unorm2_getNFKDInstance(&error);
        bool cut;
        uint32_t c;
        size_t one = utf8_decode(utf8, &c, &broken, &cut);
        fold_char(U_SUCCESS(error) ? nfkd : NULL, one ? (UChar32)c : 0xfffd, out);
        utf8 = str_from(utf8, one ? one : broken);
    }
}

/* Lower case and NFC of text with non-ASCII characters; false: not possible, nothing was added. */
static bool lower_unicode(struct str utf8, struct buf *out)
{
    size_t units = utf8.n + 1; /* UTF-16 needs no more units than UTF-8 bytes */
    DEFER(buf_release) struct buf from = BUF_INIT(units * sizeof(UChar) * 8);
    UChar *text = (UChar *)(void *)buf_reserve(&from, units * sizeof(UChar) * 4);
    if (!text || utf8.n > LOWER_MAX)
        return false;
    UChar *normal = text + units;
    int32_t n = 0, room = (int32_t)(units * 3);
    UErrorCode error = U_ZERO_ERROR;
    u_strFromUTF8(text, (int32_t)units, &n, utf8.p, (int32_t)utf8.n, &error);
    if (U_FAILURE(error))
        return false;
    for (int32_t i = 0; i < n; i++) /* simple mappings keep the length; those outside the BMP stay as they are */
        if (!U16_IS_SURROGATE(text[i]))
            text[i] = (UChar)u_tolower(text[i]);
    const UNormalizer2 *nfc = unorm2_getNFCInstance(&error);
    n = unorm2_normalize(nfc, text, n, normal, room, &error);
    if (U_FAILURE(error))
        return false;
    for (int32_t i = 0; i < n;) {
        UChar32 u;
        U16_NEXT(normal, i, n, u);
        add_char(u, out);
    }
    return true;
}

void charset_lower(struct str utf8, struct buf *out)
{
    if (!str_is_ascii(utf8) && lower_unicode(utf8, out))
        return;
    for (size_t i = 0; i < utf8.n; i++)
        buf_add_c(out, ascii_lower(utf8.p[i]));
}
