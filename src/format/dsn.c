#include "format/dsn.h"

#include "format/header.h"

static const struct {
    const char *action, *status, *subject, *sentence;
} actions[] = {
    [DSN_FAILED] = {"failed", "5.0.0", "Undelivered mail", "could not be delivered to the following recipient(s). This is final."},
    [DSN_DELAYED] =
        {"delayed", "4.0.0", "Delayed mail (still being retried)",
         "has not been delivered yet to the following recipient(s).\r\nYou need not send it again: delivery is still being tried."},
    [DSN_DELIVERED] = {"delivered", "2.0.0", "Delivered mail", "was delivered to the following recipient(s)."},
    [DSN_RELAYED] = {"relayed", "2.0.0", "Relayed mail",
                     "was passed on for the following recipient(s) to a system\r\nthat may not report its delivery."},
    [DSN_EXPANDED] = {"expanded", "2.0.0", "Mail passed to a list", "was passed to a list by the following recipient(s)."},
};

/* Text from outside as the rest of a field: runs of white space and controls become one space, folded before 76 columns. */
static void add_folded(struct str s, size_t column, struct buf *out)
{
    s = str_upto(s, DSN_DIAGNOSTIC_MAX);
    size_t at = 0;
    bool first = true;
    while (at < s.n) {
        while (at < s.n && ((unsigned char)s.p[at] <= ' ' || s.p[at] == 127))
            at++;
        size_t from = at;
        while (at < s.n && (unsigned char)s.p[at] > ' ' && s.p[at] != 127 && at - from < 900)
            at++;
        if (at == from)
            return;
        bool fold = column + 1 + (at - from) > 76;
        buf_add_z(out, fold ? "\r\n " : first ? "" : " ");
        column = (fold ? 1 : column + 1) + (at - from);
        buf_add(out, str_sub(s, from, at - from));
        first = false;
    }
}

static void add_field(const char *name, struct str value, struct buf *out)
{
    if (value.n == 0)
        return;
    buf_add_z(out, name);
    buf_add_z(out, ": ");
    add_folded(value, strlen(name) + 2, out);
    buf_add_z(out, "\r\n");
}

static void add_date(const char *name, int64_t epoch_s, const struct dsn *d, struct buf *out)
{
    struct date date = {.epoch_s = epoch_s, .zone_min = d->now.zone_min};
    if (epoch_s == 0)
        return;
    buf_add_z(out, name);
    buf_add_z(out, ": ");
    date_print(&date, out);
    buf_add_z(out, "\r\n");
}

/* ---- what kind of report ---- */

/* The worst of the actions names the report. */
static enum dsn_action main_action(const struct dsn *d)
{
    static const enum dsn_action order[] = {DSN_FAILED, DSN_DELAYED, DSN_RELAYED, DSN_EXPANDED, DSN_DELIVERED};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        for (size_t k = 0; k < d->count; k++)
            if (d->recipients[k].action == order[i])
                return order[i];
    return DSN_DELIVERED;
}

/* RFC 6533: the message/global forms are for paths that take UTF-8, and only when there is some. */
static bool is_global(const struct dsn *d, struct str returned)
{
    bool utf8 = !str_is_ascii(str_upto(returned, header_length(returned)));
    for (size_t i = 0; i < d->count; i++)
        utf8 |= !str_is_ascii(d->recipients[i].address) || str_starts_nocase(d->recipients[i].orcpt, STR("utf-8;"));
    return d->utf8 && utf8;
}

/* What people read holds addresses and answers as they are. */
static bool text_is_ascii(const struct dsn *d)
{
    bool ascii = str_is_ascii(d->from_host);
    for (size_t i = 0; i < d->count; i++)
        ascii = ascii && str_is_ascii(d->recipients[i].address) && str_is_ascii(d->recipients[i].diagnostic) &&
                str_is_ascii(d->recipients[i].remote_mta);
    return ascii;
}

/* ---- the parts ---- */

static void add_header(const struct dsn *d, bool ascii, struct buf *out)
{
    struct str domain = d->from_domain.n ? d->from_domain : d->from_host;
    struct header_field original;
    buf_add_z(out, "From: Mail Delivery System <postmaster@");
    buf_add(out, domain);
    buf_add_z(out, ">\r\nTo: <");
    buf_add(out, d->to);
    buf_add_z(out, ">\r\nSubject: ");
    buf_add_z(out, actions[main_action(d)].subject);
    buf_add_z(out, "\r\nDate: ");
    date_print(&d->now, out);
    buf_add_z(out, "\r\nMessage-ID: <");
    buf_add(out, d->unique);
    buf_add_c(out, '@');
    buf_add(out, d->from_host);
    buf_add_z(out, ">\r\n");
    if (header_find(d->message, STR("Message-ID"), &original) && str_is_ascii(original.value)) {
        struct str rest = original.value, id;
        if (header_msg_id_next(&rest, &id) && id.n < 900) {
            buf_add_z(out, "In-Reply-To: <");
            add_folded(id, 14, out);
            buf_add_z(out, ">\r\n");
        }
    }
    buf_add_z(out, "Auto-Submitted: auto-replied\r\n" /* RFC 3834 5 */
                   "MIME-Version: 1.0\r\n"
                   "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"=_");
    buf_add(out, d->unique);
    buf_add_z(out, ascii ? "\"\r\n\r\n" : "\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"); /* RFC 2045 6.4 */
}

static void add_boundary(const struct dsn *d, const char *end, struct buf *out)
{
    buf_add_z(out, "--=_");
    buf_add(out, d->unique);
    buf_add_z(out, end);
}

/* Answers of others, indented, line for line. */
static void add_quoted(struct str text, struct buf *out)
{
    struct str rest = str_upto(text, DSN_DIAGNOSTIC_MAX), line;
    while (str_split(&rest, '\n', &line)) {
        buf_add_z(out, "    ");
        add_folded(str_trim(line), 4, out);
        buf_add_z(out, "\r\n");
    }
}

static void add_explanation(const struct dsn *d, struct buf *out)
{
    enum dsn_action last = DSN_EXPANDED + 1;
    buf_add_z(out, text_is_ascii(d) ? "Content-Type: text/plain; charset=us-ascii\r\n"
                                    : "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n");
    buf_add_z(out, "Content-Description: Notification\r\n\r\nThis is the mail system at ");
    buf_add(out, d->from_host);
    buf_add_z(out, ".\r\n");
    for (size_t i = 0; i < d->count; i++) {
        const struct dsn_recipient *r = &d->recipients[i];
        if (r->action != last) {
            buf_add_z(out, "\r\nYour message ");
            buf_add_z(out, actions[r->action].sentence);
            buf_add_z(out, "\r\n");
        }
        last = r->action;
        buf_add_z(out, "\r\n<");
        buf_add(out, r->address);
        buf_add_z(out, ">\r\n");
        if (r->remote_mta.n) {
            buf_add_z(out, "    host ");
            add_folded(r->remote_mta, 9, out);
            buf_add_z(out, r->diagnostic_smtp ? " said:\r\n" : ":\r\n");
        }
        add_quoted(r->diagnostic, out);
        if (r->action == DSN_DELAYED)
            add_date("    It will be tried until", r->will_retry_until_s, d, out);
    }
    buf_add_z(out, "\r\nFor help, write to postmaster and include this report.\r\n\r\n");
}

/* RFC 3464 2.2 */
static void add_message_fields(const struct dsn *d, struct buf *out)
{
    DEFER(buf_release) struct buf envid = BUF_INIT(512);
    buf_add_z(out, "Reporting-MTA: dns; ");
    buf_add(out, d->from_host);
    buf_add_z(out, "\r\n");
    if (d->envid.n && xtext_decode(d->envid, &envid))
        add_field("Original-Envelope-Id", buf_str(&envid), out);
    if (d->received_from.n) {
        buf_add_z(out, "Received-From-MTA: dns; ");
        add_folded(d->received_from, 24, out);
        buf_add_z(out, "\r\n");
    }
    if (d->id.n)
        add_field("X-Queue-Id", d->id, out);
    add_date("Arrival-Date", d->arrived_s, d, out);
}

/* "type; address" of a recipient field: RFC 3464 2.3.1, RFC 6533 3. */
static void add_typed_address(const char *name, struct str type, struct str address, bool global, struct buf *out)
{
    bool ascii = str_is_ascii(address);
    buf_add_z(out, name);
    buf_add_z(out, ": ");
    if (ascii || global) {
        buf_add(out, ascii ? type : STR("utf-8"));
        buf_add_z(out, "; ");
        add_folded(address, 30, out);
    } else {
        DEFER(buf_release) struct buf coded = BUF_INIT(16 << 10);
        xtext_orcpt_encode(address, &coded);
        buf_add_z(out, "utf-8; ");
        buf_add(out, str_from(buf_str(&coded), 6));
    }
    buf_add_z(out, "\r\n");
}

/* RFC 3464 2.1: this part is 7-bit, and RFC 6533 has no form for answers as it has for addresses. A character becomes one mark; the
 * text for people has it as it was. */
static void add_diagnostic(struct str text, bool global, struct buf *out)
{
    DEFER(buf_release) struct buf ascii = BUF_INIT(DSN_DIAGNOSTIC_MAX);
    text = str_upto(text, DSN_DIAGNOSTIC_MAX);
    for (size_t i = 0; i < text.n && !global; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x80 || c >= 0xc0) /* not the further bytes of a character */
            buf_add_c(&ascii, c < 0x80 ? (char)c : '?');
    }
    add_folded(global ? text : buf_str(&ascii), 23, out);
}

/* RFC 3464 2.3 */
static void add_recipient_fields(const struct dsn *d, const struct dsn_recipient *r, bool global, struct buf *out)
{
    DEFER(buf_release) struct buf original = BUF_INIT(4096);
    struct str type;
    buf_add_z(out, "\r\n");
    if (r->orcpt.n && xtext_orcpt_decode(r->orcpt, &type, &original))
        add_typed_address("Original-Recipient", type, buf_str(&original), global, out);
    add_typed_address("Final-Recipient", STR("rfc822"), r->address, global, out);
    add_field("Action", str_of(actions[r->action].action), out);
    add_field("Status", r->status.n ? r->status : str_of(actions[r->action].status), out);
    if (r->remote_mta.n) {
        buf_add_z(out, "Remote-MTA: dns; ");
        add_folded(r->remote_mta, 17, out);
        buf_add_z(out, "\r\n");
    }
    if (r->diagnostic.n) {
        buf_add_z(out, r->diagnostic_smtp ? "Diagnostic-Code: smtp; " : "Diagnostic-Code: X-Postrider; ");
        add_diagnostic(r->diagnostic, global, out);
        buf_add_z(out, "\r\n");
    }
    add_date("Last-Attempt-Date", r->last_attempt_s, d, out);
    if (r->action == DSN_DELAYED)
        add_date("Will-Retry-Until", r->will_retry_until_s, d, out);
}

static void add_status(const struct dsn *d, bool global, struct buf *out)
{
    buf_add_z(out, global ? "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"
                          : "Content-Type: message/delivery-status\r\n");
    buf_add_z(out, "Content-Description: Delivery report\r\n\r\n");
    add_message_fields(d, out);
    for (size_t i = 0; i < d->count; i++)
        add_recipient_fields(d, &d->recipients[i], global, out);
    buf_add_z(out, "\r\n");
}

static void add_original(struct str returned, bool whole, bool global, struct buf *out)
{
    buf_add_z(out, "Content-Type: ");
    if (whole)
        buf_add_z(out, global ? "message/global" : "message/rfc822");
    else
        buf_add_z(out, global ? "message/global-headers" : "text/rfc822-headers");
    buf_add_z(out, str_is_ascii(returned) ? "\r\n" : "\r\nContent-Transfer-Encoding: 8bit\r\n");
    buf_add_z(out, whole ? "Content-Description: Undelivered message\r\n\r\n" : "Content-Description: Message header\r\n\r\n");
    buf_add(out, returned);
    buf_add_z(out, str_ends(returned, STR("\n")) ? "" : "\r\n");
}

enum st dsn_build(const struct dsn *d, struct buf *out, struct err *e)
{
    enum { HEADER_MAX = 256 << 10 };
    ENSURE(d->count > 0 && d->count <= DSN_RECIPIENTS_MAX, e, ST_LIMIT, "A report is about 1 to %d recipients", DSN_RECIPIENTS_MAX);
    /* RET=FULL counts for failures only (RFC 3461 4.3) */
    bool whole = d->full && main_action(d) == DSN_FAILED && d->message.n <= d->message_max;
    struct str header = str_upto(d->message, header_length(d->message));
    struct str returned = whole ? d->message : str_upto(header, HEADER_MAX);
    bool global = is_global(d, returned);
    add_header(d, !global && text_is_ascii(d) && str_is_ascii(returned), out);
    add_boundary(d, "\r\n", out);
    add_explanation(d, out);
    add_boundary(d, "\r\n", out);
    add_status(d, global, out);
    add_boundary(d, "\r\n", out);
    add_original(returned, whole, global, out);
    buf_add_z(out, "\r\n");
    add_boundary(d, "--\r\n", out);
    ENSURE(buf_ok(out), e, ST_LIMIT, "The report is too large");
    return ST_OK;
}
