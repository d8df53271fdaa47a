/* The items of FETCH that are in the index or in the digest (RFC 9051 7.5.2, 7162, 8474, 8514, 8970). */
#include "serve/imap/fetch.h"

/* ---- needs ---- */

static bool is_whole_message(const struct imap_fetch_item *item)
{
    return item->section.part_count == 0 && item->section.text == IMAP_SECTION_ALL;
}

void fetch_item_needs(struct fetch *f)
{
    f->plain = true;
    for (size_t i = 0; i < f->what.count; i++) {
        const struct imap_fetch_item *item = &f->what.items[i];
        switch (item->kind) {
        case IMAP_FETCH_UID:
        case IMAP_FETCH_FLAGS:
        case IMAP_FETCH_INTERNALDATE:
        case IMAP_FETCH_RFC822_SIZE:
        case IMAP_FETCH_MODSEQ:
        case IMAP_FETCH_EMAILID:
        case IMAP_FETCH_SAVEDATE:
            continue;
        case IMAP_FETCH_ENVELOPE:
        case IMAP_FETCH_BODY:
        case IMAP_FETCH_BODYSTRUCTURE:
        case IMAP_FETCH_PREVIEW:
            f->needs_digest = true;
            break;
        case IMAP_FETCH_SECTION:
        case IMAP_FETCH_BINARY:
        case IMAP_FETCH_BINARY_SIZE:
            f->needs_digest |= !is_whole_message(item);
            f->needs_email = true;
            break;
        case IMAP_FETCH_THREADID:
            f->needs_email = true;
            break;
        }
        f->plain = false;
    }
}

/* ---- from the index ---- */

enum { INDEX_ITEM_MAX = LINE_FLAGS_MAX };

static char *put_hex(char *to, char letter, uint64_t v)
{
    char digits[16];
    size_t at = sizeof digits;
    do
        digits[--at] = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    *to++ = letter;
    to = line_str(to, str_make(digits + at, sizeof digits - at));
    *to++ = ')';
    return to;
}

/* Needs INDEX_ITEM_MAX. */
static char *index_item(struct fetch *f, char *to, enum imap_fetch_kind kind, const struct message_entry *m)
{
    switch (kind) {
    case IMAP_FETCH_UID:
        return line_number(line_str(to, STR("UID ")), m->uid);
    case IMAP_FETCH_FLAGS:
        return line_flags(&f->lines, to, m);
    case IMAP_FETCH_INTERNALDATE:
        return line_date(&f->lines, line_str(to, STR("INTERNALDATE ")), m->internal_ms / 1000);
    case IMAP_FETCH_RFC822_SIZE:
        return line_number(line_str(to, STR("RFC822.SIZE ")), m->size);
    case IMAP_FETCH_MODSEQ:
        to = line_number(line_str(to, STR("MODSEQ (")), m->modseq);
        *to = ')';
        return to + 1;
    case IMAP_FETCH_EMAILID:
        return put_hex(line_str(to, STR("EMAILID (")), 'M', m->email);
    case IMAP_FETCH_SAVEDATE:
        return line_date(&f->lines, line_str(to, STR("SAVEDATE ")), m->saved_s);
    case IMAP_FETCH_THREADID:
    case IMAP_FETCH_ENVELOPE:
    case IMAP_FETCH_BODY:
    case IMAP_FETCH_BODYSTRUCTURE:
    case IMAP_FETCH_PREVIEW:
    case IMAP_FETCH_SECTION:
    case IMAP_FETCH_BINARY:
    case IMAP_FETCH_BINARY_SIZE:
        break;
    }
    return to;
}

void fetch_plain(void *context, struct line_writer *w, const struct message_entry *m)
{
    struct fetch *f = context;
    char *from = buf_reserve(w->s->out, LINE_MAX); /* each kind is there at most once, and only FLAGS is long */
    if (!from)
        return;
    char *to = line_str(from, STR("* "));
    to = line_number(to, line_sequence(w, m->uid));
    to = line_str(to, STR(" FETCH ("));
    for (size_t i = 0; i < f->what.count; i++) {
        if (i > 0)
            *to++ = ' ';
        to = index_item(f, to, f->what.items[i].kind, m);
    }
    if (f->add_uid) {
        *to++ = ' ';
        to = index_item(f, to, IMAP_FETCH_UID, m);
    }
    if (f->add_modseq) {
        *to++ = ' ';
        to = index_item(f, to, IMAP_FETCH_MODSEQ, m);
    }
    to = line_str(to, STR(")\r\n"));
    buf_grew(w->s->out, (size_t)(to - from));
}

/* ---- from the digest ---- */

void fetch_put_text(struct imap_session *s, struct fetch *f, struct str text)
{
    if (text.n <= imap_room_bytes(s)) {
        imap_put(s, text);
        return;
    }
    f->stream = FETCH_STREAM_MEMORY;
    f->memory = text;
}

static enum fetch_step put_digest_text(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item)
{
    if (!fetch_need_digest(s, f))
        return FETCH_FAILED;
    imap_put(s, item->label);
    buf_add_c(s->out, ' ');
    if (item->kind == IMAP_FETCH_PREVIEW)
        imap_put_string(s, f->digest.preview);
    else
        fetch_put_text(s, f,
                       item->kind == IMAP_FETCH_ENVELOPE ? f->digest.envelope
                       : item->kind == IMAP_FETCH_BODY   ? f->digest.body
                                                         : f->digest.bodystructure);
    return FETCH_NEXT;
}

static enum fetch_step put_thread(struct imap_session *s, struct fetch *f)
{
    const struct message_email *email = fetch_email(s, f);
    char text[40];
    if (!email)
        return FETCH_FAILED;
    char *to = put_hex(line_str(text, STR("THREADID (")), 'T', email->thread);
    imap_put(s, str_make(text, (size_t)(to - text)));
    return FETCH_NEXT;
}

static enum fetch_step put_index_item(struct imap_session *s, struct fetch *f, enum imap_fetch_kind kind)
{
    char *from = buf_reserve(s->out, INDEX_ITEM_MAX);
    if (from)
        buf_grew(s->out, (size_t)(index_item(f, from, kind, &f->page[f->page_at]) - from));
    return FETCH_NEXT;
}

enum fetch_step fetch_item(struct imap_session *s, struct fetch *f, const struct imap_fetch_item *item)
{
    switch (item->kind) {
    case IMAP_FETCH_UID:
    case IMAP_FETCH_FLAGS:
    case IMAP_FETCH_INTERNALDATE:
    case IMAP_FETCH_RFC822_SIZE:
    case IMAP_FETCH_MODSEQ:
    case IMAP_FETCH_EMAILID:
    case IMAP_FETCH_SAVEDATE:
        return put_index_item(s, f, item->kind);
    case IMAP_FETCH_THREADID:
        return put_thread(s, f);
    case IMAP_FETCH_ENVELOPE:
    case IMAP_FETCH_BODY:
    case IMAP_FETCH_BODYSTRUCTURE:
    case IMAP_FETCH_PREVIEW:
        return put_digest_text(s, f, item);
    case IMAP_FETCH_SECTION:
    case IMAP_FETCH_BINARY:
    case IMAP_FETCH_BINARY_SIZE:
        return fetch_section(s, f, item);
    }
    return FETCH_NEXT;
}
