#include "format/mime.h"

#include "base/err.h"
#include "format/charset.h"

/* The parse walks the message line by line exactly once. Open multiparts form a stack of boundaries; a line that begins with "--"
 * is compared with them, innermost first, and ends everything inside the one it belongs to (RFC 2046 5.1.2). */

enum {
    BOUNDARY_MAX = 1000, /* RFC 2046 says 70 */
    STACK_MAX = 64,
    LEVELS_MAX = 64, /* whatever the limits say */
};

struct parser {
    struct arena *arena;
    struct str message;
    const struct mime_limits *limits;
    struct mime_tree *tree;
    struct str stack[STACK_MAX]; /* boundaries of the open multiparts */
    size_t depth;
    size_t at;      /* start of the line that is looked at next */
    uint64_t lines; /* LFs in front of it */
    /* what ended the last scan */
    size_t hit; /* the boundary's place in the stack + 1; 0: the end of the message */
    bool hit_closing;
    size_t hit_end;     /* where the body ends: in front of the line end that belongs to the boundary */
    uint64_t hit_lines; /* LFs in front of that */
    bool no_memory;
};

/* ---- boundaries ---- */

/* Only white space up to the end of the line? (RFC 2046 5.1.1 transport-padding) */
static bool is_padding(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_space(s.p[i]) && s.p[i] != '\r')
            return false;
    return true;
}

/* line: without "--" and LF. Exact matches first, innermost first; else the longest that the line begins with, since some mailers
 * put junk behind. */
static bool boundary_match(struct parser *p, struct str line)
{
    size_t longest = 0;
    p->hit = 0;
    for (size_t i = p->depth; i > 0; i--) {
        struct str b = p->stack[i - 1];
        if (!str_starts(line, b))
            continue;
        struct str rest = str_from(line, b.n);
        bool closing = str_starts(rest, STR("--"));
        if (is_padding(str_from(rest, closing ? 2 : 0))) {
            p->hit = i;
            p->hit_closing = closing;
            return true;
        }
        if (b.n > longest) {
            longest = b.n;
            p->hit = i;
            p->hit_closing = closing;
        }
    }
    return p->hit != 0;
}

/* The line from `line` to `next` is a boundary: notes what it ends. */
static bool boundary_check(struct parser *p, size_t line, size_t next)
{
    struct str m = p->message;
    bool lf = m.p[next - 1] == '\n';
    if (!boundary_match(p, str_sub(m, line + 2, next - line - 2 - lf)))
        return false;
    p->hit_end = line;
    p->hit_lines = p->lines;
    if (p->hit_end > 0) {
        p->hit_end--;
        p->hit_lines--;
    }
    if (p->hit_end > 0 && m.p[p->hit_end - 1] == '\r')
        p->hit_end--;
    p->lines += lf;
    return true;
}

/* Walks lines from p->at until a boundary of the stack or the end of the message is behind p->at; in a header also until the empty
 * line. False: a boundary ended it. */
static bool scan(struct parser *p, bool header)
{
    struct str m = p->message;
    while (p->at < m.n) {
        size_t line = p->at;
        const char *lf = memchr(m.p + line, '\n', m.n - line);
        size_t next = lf ? (size_t)(lf - m.p) + 1 : m.n;
        p->at = next;
        if (p->depth && m.p[line] == '-' && next - line > 2 && m.p[line + 1] == '-' && boundary_check(p, line, next))
            return false;
        p->lines += lf != NULL;
        if (header && lf && (next - line == 1 || (next - line == 2 && m.p[line] == '\r')))
            return true;
    }
    p->hit = 0;
    p->hit_end = m.n;
    p->hit_lines = p->lines;
    return true;
}

/* ---- headers ---- */

struct fields { /* raw values of what matters; p NULL: absent */
    struct str content_type, encoding, disposition, id, description, md5, language, location;
    bool mime_version;
    struct mime_envelope envelope;
};

static void field_take(struct fields *f, struct header_field *field)
{
    const struct {
        struct str name;
        struct str *to;
    } known[] = {
        {STR("Content-Type"), &f->content_type},
        {STR("Content-Transfer-Encoding"), &f->encoding},
        {STR("Content-Disposition"), &f->disposition},
        {STR("Content-ID"), &f->id},
        {STR("Content-Description"), &f->description},
        {STR("Content-MD5"), &f->md5},
        {STR("Content-Language"), &f->language},
        {STR("Content-Location"), &f->location},
        {STR("Date"), &f->envelope.date},
        {STR("Subject"), &f->envelope.subject},
        {STR("From"), &f->envelope.from},
        {STR("Sender"), &f->envelope.sender},
        {STR("Reply-To"), &f->envelope.reply_to},
        {STR("To"), &f->envelope.to},
        {STR("Cc"), &f->envelope.cc},
        {STR("Bcc"), &f->envelope.bcc},
        {STR("In-Reply-To"), &f->envelope.in_reply_to},
        {STR("Message-ID"), &f->envelope.message_id},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (field->name.n != known[i].name.n || !str_eq_nocase(field->name, known[i].name))
            continue;
        if (!known[i].to->p) /* the first one counts */
            *known[i].to = field->value.p ? field->value : STR("");
        return;
    }
    f->mime_version |= str_eq_nocase(field->name, STR("MIME-Version"));
}

static void read_fields(struct parser *p, struct str header, struct fields *f)
{
    struct header_iter it;
    struct header_field field;
    *f = (struct fields){0};
    header_first(&it, str_upto(header, p->limits->header_bytes));
    for (size_t i = 0; header_next(&it, &field); i++) {
        if (i >= p->limits->header_fields) {
            p->tree->limited = true;
            return;
        }
        field_take(f, &field);
    }
    p->tree->limited |= header.n > p->limits->header_bytes;
}

static struct str unfolded(struct parser *p, struct str value)
{
    if (!value.p)
        return STR_NONE;
    struct str s = header_unfolded(p->arena, value);
    p->no_memory |= !s.p;
    return s;
}

static bool is_type(struct str type, struct str subtype, const char *want_type, const char *want_subtype)
{
    return str_eq_nocase(type, str_of(want_type)) && (!want_subtype || str_eq_nocase(subtype, str_of(want_subtype)));
}

static enum mime_kind kind_of(const struct mime_part *part)
{
    if (is_type(part->type, part->subtype, "multipart", NULL))
        return MIME_MULTIPART;
    bool message =
        is_type(part->type, part->subtype, "message", "rfc822") || is_type(part->type, part->subtype, "message", "global");
    return message ? MIME_MESSAGE : MIME_LEAF; /* RFC 9051 7.5.2: message/global likewise */
}

static void set_type(struct parser *p, struct mime_part *part, struct str value, bool in_digest)
{
    struct header_content content = {0};
    part->has_content_type = value.p != NULL;
    bool ok = value.p && header_content_parse(p->arena, value, p->limits->params, &content) && content.subtype.n;
    if (ok) {
        part->type = content.type;
        part->subtype = content.subtype;
        part->params = content.params;
    } else if (in_digest && !value.p) { /* RFC 2046 5.1.5 */
        part->type = STR("message");
        part->subtype = STR("rfc822");
    } else { /* RFC 2045 5.2 */
        part->type = STR("text");
        part->subtype = STR("plain");
    }
}

static void set_fields(struct parser *p, struct mime_part *part, const struct fields *f, bool in_digest)
{
    struct header_content content;
    set_type(p, part, f->content_type, in_digest);
    part->encoding = transfer_encoding_find(f->encoding);
    part->encoding_text = unfolded(p, f->encoding);
    part->id = unfolded(p, f->id);
    part->description = unfolded(p, f->description);
    part->md5 = unfolded(p, f->md5);
    part->languages = unfolded(p, f->language);
    part->location = unfolded(p, f->location);
    part->has_mime_version = f->mime_version;
    if (f->disposition.p && header_content_parse(p->arena, f->disposition, p->limits->params, &content)) {
        part->disposition = content.type;
        part->disposition_params = content.params;
    }
    part->kind = kind_of(part);
}

/* What cannot be looked into is shown as a plain file. */
static void make_opaque(struct parser *p, struct mime_part *part)
{
    part->kind = MIME_LEAF;
    part->type = STR("application");
    part->subtype = STR("octet-stream");
    part->params = NULL;
    p->tree->limited = true;
}

/* ---- parts ---- */

static void envelope_set(struct parser *p, struct mime_part *part, const struct fields *f)
{
    struct mime_envelope *envelope = ARENA_NEW(p->arena, struct mime_envelope);
    if (envelope)
        *envelope = f->envelope;
    p->no_memory |= !envelope;
    part->envelope = envelope;
}

static struct mime_part *part_parse(struct parser *p, struct mime_part *parent, size_t level);

static struct str boundary_of(struct parser *p, const struct mime_part *part)
{
    struct str boundary = header_param_raw(part->params, STR("boundary"));
    if (!boundary.p)
        boundary = header_param_find(p->arena, part->params, STR("boundary"));
    while (boundary.n && ascii_space(boundary.p[boundary.n - 1])) /* transport may have taken it off the lines */
        boundary.n--;
    return boundary.n <= BOUNDARY_MAX ? boundary : STR_NONE;
}

/* The children between the boundaries of a multipart. */
static void multipart_parse(struct parser *p, struct mime_part *part, size_t level)
{
    struct str boundary = boundary_of(p, part);
    if (boundary.n == 0 || p->depth == STACK_MAX) {
        scan(p, false);
        return;
    }
    size_t mine = ++p->depth;
    p->stack[mine - 1] = boundary;
    scan(p, false); /* preamble */
    struct mime_part **tail = &part->first_child;
    while (p->hit == mine && !p->hit_closing) {
        bool last = p->tree->parts + 1 >= p->limits->parts; /* takes in all that follows */
        if (last)
            p->depth = mine - 1;
        struct mime_part *child = p->tree->parts < p->limits->parts ? part_parse(p, part, level + 1) : NULL;
        if (!child) {
            scan(p, false); /* as an epilogue */
            break;
        }
        *tail = child;
        tail = &child->next;
    }
    p->depth = mine - 1;
    if (p->hit == mine) /* epilogue, up to an outer boundary or the end of the message */
        scan(p, false);
}

static void body_parse(struct parser *p, struct mime_part *part, size_t level)
{
    if (part->kind == MIME_MULTIPART)
        multipart_parse(p, part, level);
    else if (part->kind == MIME_MESSAGE)
        part->first_child = part_parse(p, part, level + 1);
    else
        scan(p, false);
}

/* The last line end in front of a boundary belongs to it, but not when it is the empty line of a header: then a part ends behind
 * it, and with it those around. */
static size_t body_end(const struct parser *p, const struct mime_part *part)
{
    size_t end = p->hit_end > part->body_offset ? p->hit_end : part->body_offset;
    for (const struct mime_part *child = part->first_child; child; child = child->next)
        if (child->body_offset + child->body_length > end)
            end = child->body_offset + child->body_length;
    return end;
}

/* The part whose header begins at p->at: a message if there is no parent or the parent is message/rfc822, else a body part.
 * Recursion is limited by LEVELS_MAX and limits.depth. NULL: out of memory. */
static struct mime_part *part_parse(struct parser *p, struct mime_part *parent, size_t level)
{
    struct fields fields;
    struct mime_part *part = p->no_memory ? NULL : ARENA_NEW(p->arena, struct mime_part);
    if (!part) {
        p->no_memory = true;
        p->hit = 0;
        p->hit_end = p->message.n;
        return NULL;
    }
    p->tree->parts++;
    part->parent = parent;
    part->header_offset = p->at;
    bool has_body = scan(p, true);
    size_t header_end = has_body ? p->at : p->hit_end > part->header_offset ? p->hit_end : part->header_offset;
    part->header_length = header_end - part->header_offset;
    part->body_offset = header_end;
    read_fields(p, str_sub(p->message, part->header_offset, part->header_length), &fields);
    set_fields(p, part, &fields, parent && is_type(parent->type, parent->subtype, "multipart", "digest"));
    if (!parent || parent->kind == MIME_MESSAGE)
        envelope_set(p, part, &fields);
    bool too_deep = part->kind != MIME_LEAF && (level >= p->limits->depth || level >= LEVELS_MAX);
    if (too_deep || p->tree->parts >= p->limits->parts)
        make_opaque(p, part);
    if (!has_body)
        return part;
    uint64_t lines = p->lines;
    body_parse(p, part, level);
    part->body_length = body_end(p, part) - part->body_offset;
    part->lines = p->hit_lines > lines ? p->hit_lines - lines : 0;
    return part;
}

bool mime_parse(struct arena *arena, struct str message, const struct mime_limits *limits, struct mime_tree *out)
{
    *out = (struct mime_tree){0};
    struct parser p = {.arena = arena, .message = message, .limits = limits, .tree = out};
    out->root = part_parse(&p, NULL, 0);
    return !p.no_memory;
}

/* ---- finding ---- */

static const struct mime_part *child_at(const struct mime_part *part, uint32_t number)
{
    const struct mime_part *child = part->first_child;
    while (child && --number)
        child = child->next;
    return child;
}

const struct mime_part *mime_part_find(const struct mime_tree *tree, const uint32_t *path, size_t n)
{
    const struct mime_part *part = tree->root;
    for (size_t i = 0; part && i < n; i++) {
        if (i > 0 && part->kind == MIME_MESSAGE)
            part = part->first_child;
        else if (i > 0 && part->kind == MIME_LEAF)
            return NULL;
        if (!part || path[i] == 0)
            return NULL;
        if (part->kind == MIME_MULTIPART)
            part = child_at(part, path[i]);
        else if (path[i] != 1)
            return NULL;
    }
    return part;
}

bool mime_is(const struct mime_part *part, struct str type, struct str subtype)
{
    return str_eq_nocase(part->type, type) && (subtype.n == 0 || str_eq_nocase(part->subtype, subtype));
}

struct str mime_filename(struct arena *arena, const struct mime_part *part)
{
    struct str name = header_param_find(arena, part->disposition_params, STR("filename"));
    return name.n ? name : header_param_find(arena, part->params, STR("name"));
}

void mime_text(struct str message, const struct mime_part *part, struct buf *out)
{
    enum { PIECE = 8192 };
    struct str body = str_sub(message, part->body_offset, part->body_length);
    struct transfer_decoder transfer;
    struct charset_decoder charset;
    DEFER(buf_release) struct buf raw = BUF_INIT(PIECE + 256);
    struct str name = header_param_raw(part->params, STR("charset"));
    transfer_decoder_init(&transfer, part->encoding);
    charset_decoder_open(&charset, name);
    while (body.n && buf_ok(out)) {
        transfer_decode(&transfer, str_upto(body, PIECE), &raw);
        body = str_from(body, PIECE);
        if (body.n == 0)
            transfer_decode_end(&transfer, &raw);
        charset_decode(&charset, buf_str(&raw), out);
        buf_clear(&raw);
    }
    charset_decode_end(&charset, out);
    charset_decoder_close(&charset);
}
