/* Base subject: RFC 5256 2.1. */
#include "base/err.h"
#include "format/digest.h"
#include "format/header.h"

enum { SUBJECT_MAX = 4096 };

static struct str trim_left(struct str s)
{
    while (s.n && ascii_space(s.p[0]))
        s = str_from(s, 1);
    return s;
}

static struct str trim_right(struct str s)
{
    size_t n = s.n;
    while (n && ascii_space(s.p[n - 1]))
        n--;
    return str_upto(s, n);
}

/* subj-blob = "[" *BLOBCHAR "]" *WSP : its length at the start of s, or 0. */
static size_t blob_length(struct str s)
{
    if (s.n == 0 || s.p[0] != '[')
        return 0;
    size_t i = 1;
    while (i < s.n && s.p[i] != '[' && s.p[i] != ']')
        i++;
    if (i == s.n || s.p[i] != ']')
        return 0;
    for (i++; i < s.n && ascii_space(s.p[i]); i++)
        ;
    return i;
}

/* subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static size_t refwd_length(struct str s)
{
    size_t n = str_starts_nocase(s, STR("re")) ? 2 : str_starts_nocase(s, STR("fwd")) ? 3 : str_starts_nocase(s, STR("fw")) ? 2 : 0;
    if (n == 0)
        return 0;
    while (n < s.n && ascii_space(s.p[n]))
        n++;
    n += blob_length(str_from(s, n));
    return n < s.n && s.p[n] == ':' ? n + 1 : 0;
}

/* subj-leader = (*subj-blob subj-refwd) / WSP */
static size_t leader_length(struct str s)
{
    if (s.n && ascii_space(s.p[0]))
        return 1;
    size_t blobs = 0, n;
    while ((n = blob_length(str_from(s, blobs))) > 0)
        blobs += n;
    n = refwd_length(str_from(s, blobs));
    return n ? blobs + n : 0;
}

/* Steps 3 to 5. A row of blobs without a reply mark behind it is looked at once for each blob: bounded by SUBJECT_MAX. */
static struct str strip_front(struct str s, bool *reply)
{
    for (size_t round = 0; round < SUBJECT_MAX; round++) {
        size_t n = leader_length(s);
        if (n) {
            *reply |= n > 1; /* white space is not a reply mark */
            s = str_from(s, n);
            continue;
        }
        n = blob_length(s);
        if (n == 0 || n == s.n)
            return s;
        s = str_from(s, n);
    }
    return s;
}

static struct str strip_trailers(struct str s, bool *reply)
{
    for (s = trim_right(s); str_ends_nocase(s, STR("(fwd)")); s = trim_right(s)) {
        s = str_upto(s, s.n - 5);
        *reply = true;
    }
    return s;
}

/* Appends s with each run of white space as one space. */
static void add_collapsed(struct str s, struct buf *out)
{
    bool space = false;
    for (size_t i = 0; i < s.n; i++) {
        if (ascii_space(s.p[i])) {
            space = true;
            continue;
        }
        if (space)
            buf_add_c(out, ' ');
        buf_add_c(out, s.p[i]);
        space = false;
    }
}

bool digest_base_subject(struct str raw_value, struct buf *out)
{
    enum { FORWARDS_MAX = 50 };
    DEFER(buf_release) struct buf decoded = BUF_INIT(SUBJECT_MAX * 4);
    DEFER(buf_release) struct buf text = BUF_INIT(SUBJECT_MAX * 4);
    bool reply = false;
    header_decode(str_upto(raw_value, SUBJECT_MAX), &decoded); /* step 1 */
    add_collapsed(buf_str(&decoded), &text);
    struct str s = buf_str(&text);
    for (int round = 0; round < FORWARDS_MAX; round++) {
        s = strip_trailers(trim_left(s), &reply); /* step 2 */
        s = strip_front(s, &reply);
        if (!str_starts_nocase(s, STR("[fwd:")) || !str_ends(s, STR("]"))) /* step 6 */
            break;
        reply = true;
        s = str_sub(s, 5, s.n - 6);
    }
    buf_add(out, s);
    return reply;
}
