/* FETCH and STORE. */
#include "format/imap_parse.h"

#include "base/err.h"

static bool is_name_char(char c) { return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '.'; }

/* ---- labels ---- */

static void print_astring(struct str s, struct buf *out)
{
    bool plain = s.n > 0;
    for (size_t i = 0; plain && i < s.n; i++)
        plain = s.p[i] > ' ' && s.p[i] < 0x7f && !strchr("(){%*\"\\]", s.p[i]);
    if (plain) {
        buf_add(out, s);
        return;
    }
    buf_add_c(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            buf_add_c(out, '\\');
        buf_add_c(out, s.p[i]);
    }
    buf_add_c(out, '"');
}

static const char *const text_names[] = {
    [IMAP_SECTION_ALL] = "",
    [IMAP_SECTION_HEADER] = "HEADER",
    [IMAP_SECTION_HEADER_FIELDS] = "HEADER.FIELDS",
    [IMAP_SECTION_HEADER_FIELDS_NOT] = "HEADER.FIELDS.NOT",
    [IMAP_SECTION_TEXT] = "TEXT",
    [IMAP_SECTION_MIME] = "MIME",
};

static void print_section(const struct imap_section *s, struct buf *out)
{
    buf_add_c(out, '[');
    for (size_t i = 0; i < s->part_count; i++) {
        if (i > 0)
            buf_add_c(out, '.');
        buf_add_u64(out, s->part[i]);
    }
    if (s->part_count && s->text != IMAP_SECTION_ALL)
        buf_add_c(out, '.');
    buf_add_z(out, text_names[s->text]);
    for (size_t i = 0; i < s->field_count; i++) {
        buf_add_z(out, i ? " " : " (");
        print_astring(s->fields[i], out);
    }
    if (s->field_count)
        buf_add_c(out, ')');
    buf_add_c(out, ']');
}

/* The answer names the section again, with the origin of a partial one (RFC 9051 7.5.2). */
static bool make_label(struct imap_args *a, const char *word, struct imap_fetch_item *item)
{
    DEFER(buf_release) struct buf label = BUF_INIT(8 << 10); /* RFC 7162 4: longer lines are not asked of clients */
    buf_add_z(&label, word);
    print_section(&item->section, &label);
    if (item->partial && item->kind != IMAP_FETCH_BINARY_SIZE)
        buf_printf(&label, "<%llu>", (unsigned long long)item->offset);
    item->label = buf_ok(&label) ? arena_str(a->arena, buf_str(&label)) : STR_NONE;
    return item->label.p || imap_args_fail(a, "a shorter command");
}

/* ---- sections ---- */

static bool header_fields(struct imap_args *a, struct imap_section *s)
{
    s->fields = ARENA_ARRAY(a->arena, IMAP_PARSE_ITEMS_MAX, struct str);
    if (!s->fields)
        return imap_args_fail(a, "a shorter command");
    if (!imap_parse_space(a) || !imap_parse_char(a, '('))
        return false;
    do {
        if (s->field_count == IMAP_PARSE_ITEMS_MAX)
            return imap_args_fail(a, "fewer header fields");
        struct str *f = &s->fields[s->field_count++];
        if (!imap_parse_astring(a, f))
            return false;
        for (size_t i = 0; i < f->n; i++)
            if (f->p[i] < '!' || f->p[i] == 0x7f || f->p[i] == ':')
                return imap_args_fail(a, "the name of a header field"); /* RFC 5322 3.6.8; it goes into the answer */
        if (f->n == 0 || f->n > 255)
            return imap_args_fail(a, "the name of a header field");
    } while (imap_accept(a, ' '));
    return imap_parse_char(a, ')');
}

static bool section_text(struct imap_args *a, struct imap_section *s)
{
    struct str word = rd_while(&a->rd, is_name_char);
    for (unsigned i = IMAP_SECTION_HEADER; i <= IMAP_SECTION_MIME; i++) {
        if (!str_eq_nocase(word, str_of(text_names[i])))
            continue;
        s->text = (enum imap_section_text)i;
        if (s->text == IMAP_SECTION_MIME && s->part_count == 0)
            break; /* RFC 9051 6.4.5: MIME must be prefixed by a part number */
        return (s->text != IMAP_SECTION_HEADER_FIELDS && s->text != IMAP_SECTION_HEADER_FIELDS_NOT) || header_fields(a, s);
    }
    return imap_args_fail(a, "a section");
}

static bool digit_is_next(const struct imap_args *a) { return rd_peek(&a->rd) >= '0' && rd_peek(&a->rd) <= '9'; }

/* "[" [part] ["." text] "]"; only the part for BINARY. */
static bool section(struct imap_args *a, bool binary, struct imap_section *s)
{
    if (!imap_parse_char(a, '['))
        return false;
    uint32_t part[IMAP_PARSE_SECTION_MAX];
    bool text = !imap_peek_is(a, ']');
    while (digit_is_next(a)) {
        if (s->part_count == IMAP_PARSE_SECTION_MAX)
            return imap_args_fail(a, "a section of fewer parts");
        if (!imap_parse_nz_number(a, &part[s->part_count++]))
            return false;
        text = imap_accept(a, '.');
        if (!text)
            break;
    }
    s->part = ARENA_ARRAY(a->arena, s->part_count + 1, uint32_t);
    if (!s->part)
        return imap_args_fail(a, "a shorter command");
    memcpy(s->part, part, s->part_count * sizeof *part);
    if (text && (binary || !section_text(a, s)))
        return imap_args_fail(a, "a section");
    return imap_parse_char(a, ']');
}

/* "<" offset "." length ">" */
static bool partial(struct imap_args *a, struct imap_fetch_item *item)
{
    item->partial = true;
    bool ok = imap_parse_number64(a, &item->offset) && imap_parse_char(a, '.') && imap_parse_number64(a, &item->length) &&
              imap_parse_char(a, '>');
    return ok && (item->length > 0 || imap_args_fail(a, "a length from 1"));
}

/* ---- items ---- */

struct fetch_word {
    const char *word;
    enum imap_fetch_kind kind;
    bool peek;
    bool has_section;
    const char *label;
};
static const struct fetch_word fetch_words[] = {
    {"UID", IMAP_FETCH_UID, true, false, "UID"},
    {"FLAGS", IMAP_FETCH_FLAGS, true, false, "FLAGS"},
    {"INTERNALDATE", IMAP_FETCH_INTERNALDATE, true, false, "INTERNALDATE"},
    {"RFC822.SIZE", IMAP_FETCH_RFC822_SIZE, true, false, "RFC822.SIZE"},
    {"ENVELOPE", IMAP_FETCH_ENVELOPE, true, false, "ENVELOPE"},
    {"BODYSTRUCTURE", IMAP_FETCH_BODYSTRUCTURE, true, false, "BODYSTRUCTURE"},
    {"MODSEQ", IMAP_FETCH_MODSEQ, true, false, "MODSEQ"},
    {"EMAILID", IMAP_FETCH_EMAILID, true, false, "EMAILID"},
    {"THREADID", IMAP_FETCH_THREADID, true, false, "THREADID"},
    {"SAVEDATE", IMAP_FETCH_SAVEDATE, true, false, "SAVEDATE"},
    {"PREVIEW", IMAP_FETCH_PREVIEW, true, false, "PREVIEW"},
    {"BODY", IMAP_FETCH_SECTION, false, true, "BODY"},
    {"BODY.PEEK", IMAP_FETCH_SECTION, true, true, "BODY"},
    {"BINARY", IMAP_FETCH_BINARY, false, true, "BINARY"},
    {"BINARY.PEEK", IMAP_FETCH_BINARY, true, true, "BINARY"},
    {"BINARY.SIZE", IMAP_FETCH_BINARY_SIZE, true, true, "BINARY.SIZE"},
    {"RFC822", IMAP_FETCH_SECTION, false, false, "RFC822"}, /* the three of RFC 3501 6.4.5 */
    {"RFC822.HEADER", IMAP_FETCH_SECTION, true, false, "RFC822.HEADER"},
    {"RFC822.TEXT", IMAP_FETCH_SECTION, false, false, "RFC822.TEXT"},
};

static const struct fetch_word *fetch_word(struct str name)
{
    for (size_t i = 0; i < sizeof fetch_words / sizeof *fetch_words; i++)
        if (str_eq_nocase(name, str_of(fetch_words[i].word)))
            return &fetch_words[i];
    return NULL;
}

static bool with_section(struct imap_args *a, const struct fetch_word *w, struct imap_fetch_item *item)
{
    if (!section(a, w->kind != IMAP_FETCH_SECTION, &item->section))
        return false;
    if (w->kind != IMAP_FETCH_BINARY_SIZE && imap_accept(a, '<') && !partial(a, item))
        return false;
    return make_label(a, w->label, item);
}

bool imap_fetch_has(const struct imap_fetch *f, enum imap_fetch_kind kind)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->items[i].kind == kind)
            return true;
    return false;
}

static bool is_whole(enum imap_fetch_kind k)
{
    return k != IMAP_FETCH_SECTION && k != IMAP_FETCH_BINARY && k != IMAP_FETCH_BINARY_SIZE;
}

static bool add_item(struct imap_args *a, struct imap_fetch *out, const struct imap_fetch_item *item)
{
    if (is_whole(item->kind) && imap_fetch_has(out, item->kind))
        return true;
    if (out->count == IMAP_PARSE_ITEMS_MAX)
        return imap_args_fail(a, "fewer items");
    out->items[out->count++] = *item;
    out->sets_seen = out->sets_seen || !item->peek;
    return true;
}

static bool item(struct imap_args *a, struct imap_fetch *out)
{
    const struct fetch_word *w = fetch_word(rd_while(&a->rd, is_name_char));
    if (!w)
        return imap_args_fail(a, "a known FETCH item");
    struct imap_fetch_item it = {.kind = w->kind, .peek = w->peek, .label = str_of(w->label)};
    if (w->has_section && (imap_peek_is(a, '[') || w->kind != IMAP_FETCH_SECTION || w->peek)) {
        if (!with_section(a, w, &it))
            return false;
    } else if (w->has_section) {
        it.kind = IMAP_FETCH_BODY;
        it.peek = true;
    } else if (w->kind == IMAP_FETCH_SECTION) {
        it.section.text = str_eq(it.label, STR("RFC822.HEADER")) ? IMAP_SECTION_HEADER
                          : str_eq(it.label, STR("RFC822.TEXT")) ? IMAP_SECTION_TEXT
                                                                 : IMAP_SECTION_ALL;
    }
    /* RFC 8970 3: PREVIEW (LAZY); ours are always at hand */
    if (w->kind == IMAP_FETCH_PREVIEW && rd_accept_nocase(&a->rd, STR(" (LAZY)")))
        it.peek = true;
    return add_item(a, out, &it);
}

static bool macro(struct imap_args *a, struct imap_fetch *out, bool *found)
{
    static const enum imap_fetch_kind kinds[] = {IMAP_FETCH_FLAGS, IMAP_FETCH_INTERNALDATE, IMAP_FETCH_RFC822_SIZE,
                                                 IMAP_FETCH_ENVELOPE, IMAP_FETCH_BODY};
    static const char *const labels[] = {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"};
    size_t n = imap_accept_word(a, "FAST") ? 3 : imap_accept_word(a, "ALL") ? 4 : imap_accept_word(a, "FULL") ? 5 : 0;
    *found = n > 0;
    for (size_t i = 0; i < n; i++)
        if (!add_item(a, out, &(struct imap_fetch_item){.kind = kinds[i], .peek = true, .label = str_of(labels[i])}))
            return false;
    return true;
}

static bool items(struct imap_args *a, struct imap_fetch *out)
{
    bool found;
    out->items = ARENA_ARRAY(a->arena, IMAP_PARSE_ITEMS_MAX, struct imap_fetch_item);
    if (!out->items)
        return imap_args_fail(a, "a shorter command");
    if (!macro(a, out, &found) || found)
        return imap_args_ok(a);
    if (!imap_accept(a, '('))
        return item(a, out);
    do
        if (!item(a, out))
            return false;
    while (imap_accept(a, ' '));
    return imap_parse_char(a, ')');
}

static bool modifiers(struct imap_args *a, struct imap_fetch *out)
{
    if (!imap_parse_space(a) || !imap_parse_char(a, '('))
        return false;
    do {
        if (imap_accept_word(a, "VANISHED")) {
            out->vanished = true;
        } else if (imap_accept_word(a, "CHANGEDSINCE")) {
            out->has_changed_since = true;
            if (!imap_parse_space(a) || !imap_parse_number64(a, &out->changed_since))
                return false;
        } else if (imap_accept_word(a, "PARTIAL")) {
            out->partial = true;
            if (!imap_parse_partial_range(a, &out->partial_first, &out->partial_last))
                return false;
        } else {
            return imap_args_fail(a, "a known FETCH modifier");
        }
    } while (imap_accept(a, ' '));
    if (out->vanished && !out->has_changed_since)
        return imap_args_fail(a, "CHANGEDSINCE with VANISHED"); /* RFC 7162 3.2.6 */
    return imap_parse_char(a, ')');
}

bool imap_parse_fetch(struct imap_args *a, struct imap_fetch *out)
{
    *out = (struct imap_fetch){0};
    if (!imap_parse_set(a, &out->set) || !imap_parse_space(a) || !items(a, out))
        return false;
    return (imap_at_end(a) || modifiers(a, out)) && imap_parse_end(a);
}

/* ---- STORE ---- */

static bool store_modifiers(struct imap_args *a, struct imap_store *out)
{
    imap_parse_char(a, '(');
    if (!imap_accept_word(a, "UNCHANGEDSINCE"))
        return imap_args_fail(a, "UNCHANGEDSINCE");
    out->has_unchanged_since = true;
    return imap_parse_space(a) && imap_parse_number64(a, &out->unchanged_since) && imap_parse_char(a, ')') && imap_parse_space(a);
}

bool imap_parse_store(struct imap_args *a, struct imap_store *out)
{
    *out = (struct imap_store){0};
    if (!imap_parse_set(a, &out->set) || !imap_parse_space(a) || (imap_peek_is(a, '(') && !store_modifiers(a, out)))
        return false;
    out->mode = imap_accept(a, '+') ? IMAP_STORE_ADD : imap_accept(a, '-') ? IMAP_STORE_REMOVE : IMAP_STORE_SET;
    out->silent = imap_accept_word(a, "FLAGS.SILENT");
    if (!out->silent && !imap_accept_word(a, "FLAGS"))
        return imap_args_fail(a, "FLAGS");
    if (!imap_parse_space(a))
        return false;
    bool ok = imap_peek_is(a, '(') ? imap_parse_flag_list(a, &out->flags) : imap_parse_flags_bare(a, &out->flags);
    return ok && imap_parse_end(a);
}
