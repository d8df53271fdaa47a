#include "format/repair.h"

#include "format/address.h"
#include "format/header.h"

enum { FIELDS_MAX = 5000, ADDRESSES_MAX = 5000 };

/* What a pass over the header found, and what follows from it. */
struct state {
    struct arena *scratch;
    const struct repair_facts *facts;
    struct buf *out;
    unsigned changes;
    bool keep_date, keep_message_id, keep_from;
    bool from_names_submitter, sender_names_submitter, has_sender;
    size_t from_mailboxes;
    struct str message_id;  /* of a kept field */
    size_t id_at, id_bytes; /* in out, of a new one */
};

static bool is_one_of(struct str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_nocase(name, str_of(names[i])))
            return true;
    return false;
}

static bool is_address_field(struct str name)
{
    static const char *const names[] = {"From",        "To",        "Cc",        "Reply-To",        "Sender",
                                        "Resent-From", "Resent-To", "Resent-Cc", "Resent-Reply-To", "Resent-Sender"};
    return is_one_of(name, names, sizeof names / sizeof *names);
}

static bool is_blind_field(struct str name) { return str_eq_nocase(name, STR("Bcc")) || str_eq_nocase(name, STR("Resent-Bcc")); }

/* ---- looking ---- */

/* A zone is there: "-0000" says on purpose that the zone does not matter (RFC 5322 3.3), nothing says nothing. */
static bool date_is_good(struct str value)
{
    struct date d;
    return date_parse(value, &d) && (!d.zone_unknown || str_find(value, STR("-0000")) != STR_NPOS);
}

static bool message_id_is_good(struct str value)
{
    struct str rest = value, id;
    if (!header_msg_id_next(&rest, &id))
        return false;
    size_t at = str_find_char(id, '@');
    return at != STR_NPOS && at > 0 && at + 1 < id.n && str_find_char(id, ' ') == STR_NPOS && str_find_char(id, '\n') == STR_NPOS;
}

/* Is it the submitter's address? Local-parts in any case: logins are. */
static bool is_submitter(const struct state *s, const struct address_entry *a)
{
    struct str submitter = s->facts->submitter;
    size_t at = str_rfind_char(submitter, '@');
    if (at == STR_NPOS)
        return false;
    struct str domain = a->domain.n ? a->domain : s->facts->domain; /* as it will be qualified */
    return str_eq_nocase(a->local, str_upto(submitter, at)) && str_eq_nocase(domain, str_from(submitter, at + 1));
}

static bool names_submitter(const struct state *s, const struct address_list *list)
{
    for (const struct address_entry *a = list->first; a; a = a->next)
        if (a->kind == ADDRESS_MAILBOX && is_submitter(s, a))
            return true;
    return false;
}

static void look_at(struct state *s, const struct header_field *f)
{
    struct address_list list;
    if (str_eq_nocase(f->name, STR("Date"))) {
        s->keep_date |= date_is_good(f->value);
    } else if (str_eq_nocase(f->name, STR("Message-ID"))) {
        if (!s->keep_message_id && message_id_is_good(f->value))
            s->message_id = str_trim(f->value);
        s->keep_message_id |= message_id_is_good(f->value);
    } else if (str_eq_nocase(f->name, STR("From"))) {
        address_list_parse(s->scratch, f->value, ADDRESSES_MAX, &list);
        s->keep_from |= list.mailboxes > 0;
        s->from_mailboxes += list.mailboxes;
        s->from_names_submitter |= names_submitter(s, &list);
    } else if (str_eq_nocase(f->name, STR("Sender"))) {
        address_list_parse(s->scratch, f->value, ADDRESSES_MAX, &list);
        s->has_sender = true;
        s->sender_names_submitter |= names_submitter(s, &list);
    }
}

/* The fields at the start of the message; *end is behind the last of them. A line that is no field ends the header, as if an empty
 * line stood in front of it. */
static enum st look(struct state *s, struct str message, size_t *end, struct err *e)
{
    struct header_iter it;
    struct header_field f;
    header_first(&it, message);
    *end = 0;
    for (size_t i = 0; header_next(&it, &f); i++) {
        ENSURE(i < FIELDS_MAX, e, ST_LIMIT, "Too many header fields");
        bool mbox = i == 0 && (str_starts(f.raw, STR("From ")) || str_starts(f.raw, STR(">From ")));
        if (f.name.n == 0 && !mbox)
            return ST_OK;
        look_at(s, &f);
        *end = it.at;
    }
    return ST_OK;
}

/* ---- writing ---- */

/* Only what can be a local-part: a dot-atom or quoted-string without '@', and not the usual way of saying "nobody". */
static bool can_be_qualified(const struct address_entry *a, struct str value)
{
    if (a->kind != ADDRESS_MAILBOX || a->domain.n || a->local.n == 0 || str_find_char(a->local, ' ') != STR_NPOS)
        return false;
    if (str_find_char(a->local, '@') != STR_NPOS || str_starts_nocase(a->local, STR("undisclosed")))
        return false;
    struct str behind = str_trim(str_from(value, a->local_end));
    return behind.n == 0 || behind.p[0] != '@';
}

/* Copies the field, with "@domain" put behind bare local-parts. */
static void write_addresses(struct state *s, const struct header_field *f)
{
    struct address_list list;
    const char *done = f->raw.p;
    address_list_parse(s->scratch, f->value, ADDRESSES_MAX, &list);
    for (const struct address_entry *a = list.first; a && s->facts->domain.n; a = a->next) {
        if (!can_be_qualified(a, f->value))
            continue;
        const char *at = f->value.p + a->local_end;
        buf_add(s->out, (struct str){done, (size_t)(at - done)});
        buf_add_c(s->out, '@');
        buf_add(s->out, s->facts->domain);
        done = at;
        s->changes |= REPAIR_QUALIFIED;
    }
    buf_add(s->out, (struct str){done, (size_t)(f->raw.p + f->raw.n - done)});
}

static bool sender_is_needed(const struct state *s)
{
    if (!s->facts->check_sender || s->facts->submitter.n == 0 || !s->keep_from)
        return false;
    bool from_says_it = s->from_names_submitter && (s->from_mailboxes == 1 || s->has_sender); /* RFC 5322 3.6.2 */
    return !from_says_it && !s->sender_names_submitter;
}

/* The changes that leave the field out; 0: it stays. */
static unsigned dropped(const struct state *s, struct str name)
{
    if (is_blind_field(name))
        return REPAIR_BCC;
    if (str_eq_nocase(name, STR("Return-Path")))
        return REPAIR_RETURN_PATH;
    if (str_eq_nocase(name, STR("Date")) && !s->keep_date)
        return REPAIR_DATE;
    if (str_eq_nocase(name, STR("Message-ID")) && !s->keep_message_id)
        return REPAIR_MESSAGE_ID;
    if (str_eq_nocase(name, STR("From")) && !s->keep_from && s->facts->submitter.n)
        return REPAIR_FROM;
    if (str_eq_nocase(name, STR("Sender")) && sender_is_needed(s))
        return REPAIR_SENDER;
    return name.n ? 0 : REPAIR_BLANK_LINE; /* an mbox line */
}

static void copy_fields(struct state *s, struct str header)
{
    struct header_iter it;
    struct header_field f;
    header_first(&it, header);
    while (header_next(&it, &f)) {
        unsigned drop = dropped(s, f.name);
        s->changes |= drop;
        if (drop)
            continue;
        if (is_address_field(f.name))
            write_addresses(s, &f);
        else
            buf_add(s->out, f.raw);
    }
    if (s->out->n && s->out->p[s->out->n - 1] != '\n')
        buf_add_z(s->out, "\r\n");
}

static void write_address_field(struct state *s, struct str name, struct str display)
{
    struct address submitter = {0};
    size_t at = str_rfind_char(s->facts->submitter, '@');
    buf_add(s->out, name);
    buf_add_z(s->out, ": ");
    if (display.n && at != STR_NPOS && address_parse(s->scratch, s->facts->submitter, ADDRESS_UTF8, &submitter, NULL) == ST_OK)
        address_mailbox_print(display, &submitter, s->out);
    else
        buf_add(s->out, s->facts->submitter);
    buf_add_z(s->out, "\r\n");
}

static void add_fields(struct state *s)
{
    if (!s->keep_date) {
        buf_add_z(s->out, "Date: ");
        date_print(&s->facts->now, s->out);
        buf_add_z(s->out, "\r\n");
        s->changes |= REPAIR_DATE;
    }
    if (!s->keep_from && s->facts->submitter.n) {
        write_address_field(s, STR("From"), s->facts->name);
        s->changes |= REPAIR_FROM;
    }
    if (sender_is_needed(s)) {
        write_address_field(s, STR("Sender"), STR_NONE);
        s->changes |= REPAIR_SENDER;
    }
    if (!s->keep_message_id) {
        buf_add_z(s->out, "Message-ID: ");
        s->id_at = s->out->n;
        buf_add_c(s->out, '<');
        buf_add(s->out, s->facts->unique);
        buf_add_c(s->out, '@');
        buf_add(s->out, s->facts->host);
        buf_add_c(s->out, '>');
        s->id_bytes = s->out->n - s->id_at;
        buf_add_z(s->out, "\r\n");
        s->changes |= REPAIR_MESSAGE_ID;
    }
}

/* Length of the empty line at the start of s, 0 if there is none. */
static size_t empty_line(struct str s) { return str_starts(s, STR("\r\n")) ? 2 : str_starts(s, STR("\n")) ? 1 : 0; }

enum st repair_header(struct arena *scratch, struct str message, const struct repair_facts *facts, struct buf *out,
                      struct repair_result *result, struct err *e)
{
    struct state s = {.scratch = scratch, .facts = facts, .out = out};
    size_t end;
    TRY(look(&s, message, &end, e));
    copy_fields(&s, str_upto(message, end));
    add_fields(&s);
    size_t blank = empty_line(str_from(message, end));
    result->body_offset = end + blank;
    if (blank) {
        buf_add(out, str_sub(message, end, blank));
    } else {
        buf_add_z(out, "\r\n");
        s.changes |= REPAIR_BLANK_LINE;
    }
    ENSURE(buf_ok(out), e, ST_LIMIT, "Message header too large");
    result->changes = s.changes;
    result->message_id = s.keep_message_id ? s.message_id : (struct str){out->p + s.id_at, s.id_bytes};
    return ST_OK;
}
