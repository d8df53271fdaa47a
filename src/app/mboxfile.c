/* mbox (RFC 4155; the dialects are described in mbox(5)). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/mailfile.h"
#include "format/date.h"
#include "format/header.h"
#include "store/message.h"

enum { READ_SIZE = 256 << 10, LINE_KEEP = 998 };

struct mboxfile {
    int fd;
    enum mboxfile_quoting quoting;
    uint64_t size, position; /* position: bytes used */
    char *block;
    size_t block_n, block_at;
    bool end;
    bool blank;       /* the line before was empty: a From_ line may follow */
    bool continued;   /* the last piece had no line end */
    int64_t from_ms;  /* date of the From_ line that was read last */
    bool have_from;   /* the next message's From_ line has been read */
    struct buf line;  /* one line, or a piece of a long one */
    struct buf raw;   /* the message with LF as read */
    struct buf bytes; /* the message as given */
};

enum st mboxfile_open(const char *path, enum mboxfile_quoting quoting, size_t message_max, struct mboxfile **out, struct err *e)
{
    struct stat st;
    struct mboxfile *m = calloc(1, sizeof *m);
    ENSURE(m, e, ST_TEMP, "out of memory");
    m->quoting = quoting;
    m->blank = true;
    m->block = malloc(READ_SIZE);
    buf_init(&m->line, READ_SIZE);
    buf_init(&m->raw, message_max);
    buf_init(&m->bytes, message_max);
    m->fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (m->fd < 0 || !m->block || fstat(m->fd, &st) != 0) {
        int why = errno;
        mboxfile_close(m);
        return ERR_PUBLIC(e, why == ENOENT ? ST_NOTFOUND : ST_TEMP, "%s cannot be read: %s", path, strerror(why));
    }
    m->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    *out = m;
    return ST_OK;
}

void mboxfile_close(struct mboxfile *m)
{
    if (!m)
        return;
    if (m->fd >= 0)
        close(m->fd);
    free(m->block);
    buf_release(&m->line);
    buf_release(&m->raw);
    buf_release(&m->bytes);
    free(m);
}

uint64_t mboxfile_size(const struct mboxfile *m) { return m->size; }
uint64_t mboxfile_position(const struct mboxfile *m) { return m->position; }

/* The next line with its LF in m->line, or a piece of READ_SIZE of a very long one. False at the end of the file. */
static enum st read_line(struct mboxfile *m, bool *got, struct err *e)
{
    buf_clear(&m->line);
    for (;;) {
        struct str left = str_make(m->block + m->block_at, m->block_n - m->block_at);
        size_t n = str_find_char(left, '\n');
        bool whole = n != STR_NPOS;
        n = whole ? n + 1 : left.n;
        if (n > buf_room(&m->line))
            n = buf_room(&m->line);
        buf_add(&m->line, str_upto(left, n));
        m->block_at += n;
        m->position += n;
        if ((whole && m->line.p[m->line.n - 1] == '\n') || buf_room(&m->line) == 0 || m->end) {
            *got = m->line.n > 0;
            return ST_OK;
        }
        ssize_t r = read(m->fd, m->block, READ_SIZE);
        if (r < 0 && errno == EINTR)
            continue;
        ENSURE(r >= 0, e, ST_TEMP, "the mbox cannot be read: %s", strerror(errno));
        m->block_at = 0;
        m->block_n = (size_t)r;
        m->end = r == 0;
    }
}

/* "From sender Mon Jul 17 02:44:25 1996": at least a time of day must be in it, so that prose is not taken for one. */
static bool is_from_line(struct str line, int64_t *date_ms)
{
    struct date d;
    if (!str_starts(line, STR("From ")))
        return false;
    struct str rest = str_trim(str_from(line, 5));
    size_t space = str_find_char(rest, ' '), colon = str_find_char(rest, ':');
    if (space == STR_NPOS || colon == STR_NPOS)
        return false;
    *date_ms = date_parse(str_from(rest, space + 1), &d) ? d.epoch_s * 1000 : 0;
    return true;
}

static struct str unquoted(const struct mboxfile *m, struct str line)
{
    size_t n = 0;
    while (n < line.n && line.p[n] == '>')
        n++;
    bool quoted = n > 0 && str_starts(str_from(line, n), STR("From "));
    if (!quoted || m->quoting == MBOXFILE_NONE || (m->quoting == MBOXFILE_O && n != 1))
        return line;
    return str_from(line, 1);
}

/* Collects the lines up to the next From_ line. */
static enum st read_message(struct mboxfile *m, struct err *e)
{
    bool got = true;
    buf_clear(&m->raw);
    m->have_from = false;
    while (got) {
        int64_t date = 0;
        TRY(read_line(m, &got, e));
        struct str line = buf_str(&m->line);
        bool begins = got && !m->continued;
        m->continued = got && line.p[line.n - 1] != '\n';
        if (begins && m->blank && is_from_line(line, &date)) {
            m->have_from = true;
            m->from_ms = date;
            break;
        }
        m->blank = begins && str_trim(line).n == 0;
        if (got)
            buf_add(&m->raw, begins ? unquoted(m, line) : line);
    }
    ENSURE(buf_ok(&m->raw), e, ST_LIMIT, "a message in the mbox is longer than %zu bytes", m->raw.max);
    /* the empty line before a From_ line belongs to the mbox */
    if (str_ends(buf_str(&m->raw), STR("\n\n")))
        buf_cut(&m->raw, m->raw.n - 1);
    else if (str_ends(buf_str(&m->raw), STR("\n\r\n")))
        buf_cut(&m->raw, m->raw.n - 2);
    return ST_OK;
}

static void take_status(struct str value, struct mailfile_message *out)
{
    static const struct {
        char letter;
        uint32_t flag;
    } letters[] = {
        {'R', MESSAGE_SEEN}, {'A', MESSAGE_ANSWERED}, {'F', MESSAGE_FLAGGED}, {'D', MESSAGE_DELETED}, {'T', MESSAGE_DRAFT}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (str_find_char(value, letters[i].letter) != STR_NPOS)
            out->flags |= letters[i].flag;
}

static void take_keywords(struct str value, struct mailfile_message *out)
{
    struct str word;
    value = str_trim(value);
    while (str_split(&value, ' ', &word)) {
        word = str_trim(word);
        if (word.n == 0 || word.n > MAILFILE_KEYWORD_LENGTH || out->keyword_count >= MAILFILE_KEYWORDS_MAX)
            continue;
        memcpy(out->keywords[out->keyword_count], word.p, word.n);
        out->keywords[out->keyword_count++][word.n] = '\0';
    }
}

/* True: the field is the mbox's, not the message's. */
static bool take_field(const struct header_field *f, struct mailfile_message *out)
{
    static const char *const housekeeping[] = {"X-UID",          "X-IMAP",           "X-IMAPbase",
                                               "Content-Length", "X-Mozilla-Status", "X-Mozilla-Status2"};
    if (str_eq_nocase(f->name, STR("Status")) || str_eq_nocase(f->name, STR("X-Status"))) {
        take_status(f->value, out);
        return true;
    }
    if (str_eq_nocase(f->name, STR("X-Keywords"))) {
        take_keywords(f->value, out);
        return true;
    }
    for (size_t i = 0; i < sizeof housekeeping / sizeof *housekeeping; i++)
        if (str_eq_nocase(f->name, str_of(housekeeping[i])))
            return true;
    return false;
}

/* Pine and UW-IMAP keep a message of their own at the top. */
static bool is_folder_data(struct str raw)
{
    struct header_field f;
    return header_find(raw, STR("X-IMAP"), &f) && header_find(raw, STR("Subject"), &f) &&
           str_find(f.value, STR("FOLDER INTERNAL DATA")) != STR_NPOS;
}

static void convert(struct mboxfile *m, struct mailfile_message *out)
{
    struct str raw = buf_str(&m->raw);
    size_t head = header_length(raw);
    struct header_iter it;
    struct header_field f;
    size_t at = 0;
    buf_clear(&m->bytes);
    m->bytes.max = m->raw.n * 2 + 2;
    header_first(&it, str_upto(raw, head));
    while (header_next(&it, &f)) {
        size_t end = f.offset + f.raw.n;
        if (!take_field(&f, out))
            mailfile_add_crlf(str_sub(raw, at, end - at), &m->bytes);
        at = end;
    }
    mailfile_add_crlf(str_from(raw, at), &m->bytes);
}

enum st mboxfile_next(struct mboxfile *m, struct mailfile_message *out, struct err *e)
{
    for (;;) {
        int64_t date = m->from_ms;
        bool began = m->have_from;
        if (m->end && !began && m->block_at >= m->block_n)
            return ST_NOTFOUND;
        TRY(read_message(m, e));
        if (!began && str_trim(buf_str(&m->raw)).n == 0)
            continue; /* what stands before the first From_ line */
        ENSURE(began, e, ST_PERM, "not an mbox: it does not begin with a \"From \" line");
        if (is_folder_data(buf_str(&m->raw)))
            continue;
        *out = (struct mailfile_message){0};
        convert(m, out);
        ENSURE(buf_ok(&m->bytes), e, ST_TEMP, "out of memory");
        out->bytes = buf_str(&m->bytes);
        out->date_ms = date ? date : mailfile_received_ms(out->bytes);
        return ST_OK;
    }
}

/* ---- writing ---- */

static void print_from(const struct mailfile_message *m, struct buf *out)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct header_field f;
    struct date d = {m->date_ms / 1000, 0, false};
    struct date_civil c = date_civil(&d);
    struct str sender = STR("MAILER-DAEMON");
    if (header_find(m->bytes, STR("Return-Path"), &f)) {
        struct str path = str_trim(f.value);
        if (path.n > 2 && path.p[0] == '<' && path.p[path.n - 1] == '>' && str_find_char(path, ' ') == STR_NPOS)
            sender = str_sub(path, 1, path.n - 2);
    }
    buf_printf(out, "From %.*s %.3s %.3s %2d %02d:%02d:%02d %04d\n", STR_FMT(sender), days + 3 * c.weekday,
               months + 3 * (c.month - 1), c.day, c.hour, c.minute, c.second, c.year);
}

static void print_status(const struct mailfile_message *m, struct buf *out)
{
    buf_printf(out, "Status: %sO\n", m->flags & MESSAGE_SEEN ? "R" : "");
    if (m->flags & ~(uint32_t)MESSAGE_SEEN)
        buf_printf(out, "X-Status: %s%s%s%s\n", m->flags & MESSAGE_ANSWERED ? "A" : "", m->flags & MESSAGE_FLAGGED ? "F" : "",
                   m->flags & MESSAGE_DELETED ? "D" : "", m->flags & MESSAGE_DRAFT ? "T" : "");
    for (size_t i = 0; i < m->keyword_count; i++)
        buf_printf(out, "%s%s", i ? " " : "X-Keywords: ", m->keywords[i]);
    if (m->keyword_count)
        buf_add_c(out, '\n');
}

/* Lines with LF; ">*From " gets one more '>'. */
static void print_quoted(struct str text, struct buf *out)
{
    while (text.n) {
        size_t n = str_find_char(text, '\n');
        n = n == STR_NPOS ? text.n : n + 1;
        struct str line = str_upto(text, n);
        size_t marks = 0;
        while (marks < line.n && line.p[marks] == '>')
            marks++;
        if (str_starts(str_from(line, marks), STR("From ")))
            buf_add_c(out, '>');
        mailfile_add_lf(line, out);
        text = str_from(text, n);
    }
}

void mboxfile_print(const struct mailfile_message *m, struct buf *out)
{
    size_t head = header_length(m->bytes);
    /* the fields go to the end of the header: in front of the empty line */
    size_t fields = head;
    if (str_ends(str_upto(m->bytes, head), STR("\r\n\r\n")))
        fields = head - 2;
    else if (str_eq(str_upto(m->bytes, head), STR("\r\n")))
        fields = 0;
    print_from(m, out);
    print_quoted(str_upto(m->bytes, fields), out);
    print_status(m, out);
    print_quoted(str_from(m->bytes, fields), out);
    if (out->n && out->p[out->n - 1] != '\n')
        buf_add_c(out, '\n');
    buf_add_c(out, '\n');
}
