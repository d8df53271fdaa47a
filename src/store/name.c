#include "store/name.h"

#include <unicode/unorm2.h>
#include <unicode/ustring.h>

static enum st normalise(struct str text, struct name *out, struct err *e)
{
    enum { UNITS = MAILBOX_NAME_MAX };
    UChar raw[UNITS], composed[UNITS];
    int32_t raw_n = 0, composed_n = 0, n = 0;
    UErrorCode code = U_ZERO_ERROR;
    const UNormalizer2 *nfc = unorm2_getNFCInstance(&code);
    u_strFromUTF8(raw, UNITS, &raw_n, text.p, (int32_t)text.n, &code);
    if (U_SUCCESS(code))
        composed_n = unorm2_normalize(nfc, raw, raw_n, composed, UNITS, &code);
    if (U_SUCCESS(code))
        u_strToUTF8(out->b, sizeof out->b, &n, composed, composed_n, &code);
    ENSURE(code != U_BUFFER_OVERFLOW_ERROR, e, ST_PERM, "The mailbox name is too long");
    ENSURE(U_SUCCESS(code), e, ST_PERM, "The mailbox name is not Unicode text");
    out->n = (size_t)n;
    return ST_OK;
}

/* C0, DEL, C1, U+2028 and U+2029 (RFC 9051 5.1), in UTF-8. */
static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0)
            return true;
        if (c == 0xe2 && i + 2 < s.n && (unsigned char)s.p[i + 1] == 0x80 &&
            ((unsigned char)s.p[i + 2] == 0xa8 || (unsigned char)s.p[i + 2] == 0xa9))
            return true;
    }
    return false;
}

/* INBOX has any case, also as the first level (RFC 9051 5.1). */
static void fold_inbox(struct name *n)
{
    struct str inbox = STR("INBOX");
    if (n->n >= inbox.n && str_eq_nocase(str_make(n->b, inbox.n), inbox) && (n->n == inbox.n || n->b[inbox.n] == '/'))
        memcpy(n->b, inbox.p, inbox.n);
}

static enum st canonicalise(struct str text, struct name *out, struct err *e)
{
    out->n = 0;
    ENSURE(text.n > 0, e, ST_PERM, "The mailbox name is empty");
    ENSURE(text.n <= MAILBOX_NAME_MAX, e, ST_PERM, "The mailbox name is too long");
    if (str_is_ascii(text)) {
        memcpy(out->b, text.p, text.n);
        out->n = text.n;
    } else {
        ENSURE(str_is_utf8(text), e, ST_PERM, "The mailbox name is not UTF-8");
        TRY(normalise(text, out, e));
    }
    fold_inbox(out);
    return ST_OK;
}

bool name_canonical(struct str text, struct name *out) { return canonicalise(text, out, NULL) == ST_OK; }

enum st name_parse(struct str text, struct name *out, struct err *e)
{
    TRY(canonicalise(text, out, e));
    struct str s = name_str(out), rest = s, level;
    ENSURE(!has_control(s), e, ST_PERM, "The mailbox name contains a control character");
    ENSURE(str_find_char(s, '*') == STR_NPOS && str_find_char(s, '%') == STR_NPOS, e, ST_PERM,
           "The mailbox name contains a wildcard");
    int depth = 0;
    while (str_split(&rest, '/', &level)) {
        ENSURE(level.n > 0, e, ST_PERM, "The mailbox name has an empty level");
        ENSURE(!str_eq(level, STR(".")) && !str_eq(level, STR("..")), e, ST_PERM, "The mailbox name has a level of dots only");
        ENSURE(++depth <= MAILBOX_DEPTH_MAX, e, ST_PERM, "The mailbox name has too many levels");
    }
    ENSURE(s.p[s.n - 1] != '/', e, ST_PERM, "The mailbox name ends with a separator");
    return ST_OK;
}

struct str name_parent(struct str canonical)
{
    size_t at = str_rfind_char(canonical, '/');
    return at == STR_NPOS ? STR_NONE : str_upto(canonical, at);
}

bool name_is_inbox(struct str canonical) { return str_eq(canonical, STR("INBOX")); }

bool name_below(struct str canonical, struct str ancestor)
{
    return canonical.n > ancestor.n && canonical.p[ancestor.n] == '/' && str_starts(canonical, ancestor);
}
