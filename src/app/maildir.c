/* Maildir (cr.yp.to/proto/maildir.html), Maildir++ folders, and Dovecot's keyword letters. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/mailfile.h"
#include "format/utf7.h"
#include "rt/clock.h"
#include "store/message.h"

enum { PATH_SIZE = 2048, FOLDERS_MAX = 20000, DEPTH_MAX = 16, KEYWORD_LETTERS = 26 };

static bool path_make(char out[PATH_SIZE], const char *a, const char *b, const char *c)
{
    int n = snprintf(out, PATH_SIZE, "%s%s%s%s%s", a, *b ? "/" : "", b, *c ? "/" : "", c);
    return n > 0 && n < PATH_SIZE;
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_maildir(const char *path)
{
    char sub[PATH_SIZE];
    return path_make(sub, path, "cur", "") && is_dir(sub);
}

/* ---- folders ---- */

struct walk {
    struct arena *arena;
    struct maildir_folder *folders;
    size_t count, room;
    struct err *e;
};

/* A folder's name on the disk: modified UTF-7 if it is that, else as it is. */
static void add_name(struct str raw, bool dots, struct buf *out)
{
    struct buf decoded = BUF_INIT(1024);
    if (!utf7_decode(raw, &decoded)) {
        buf_clear(&decoded);
        buf_add(&decoded, raw);
    }
    for (size_t i = 0; i < decoded.n; i++)
        buf_add_c(out, dots && decoded.p[i] == '.' ? '/' : decoded.p[i]);
    buf_release(&decoded);
}

static enum st add_folder(struct walk *w, const char *path, struct str name)
{
    if (w->count == w->room) {
        size_t room = w->room ? w->room * 2 : 64;
        struct maildir_folder *more = ARENA_ARRAY(w->arena, room, struct maildir_folder);
        ENSURE(more && room <= FOLDERS_MAX * 2, w->e, ST_LIMIT, "too many folders");
        if (w->count)
            memcpy(more, w->folders, w->count * sizeof *more);
        w->folders = more;
        w->room = room;
    }
    struct maildir_folder *f = &w->folders[w->count++];
    *f = (struct maildir_folder){arena_str(w->arena, str_of(path)), arena_str(w->arena, name)};
    ENSURE(f->path.p && f->name.p, w->e, ST_LIMIT, "too many folders");
    return ST_OK;
}

static enum st walk_dir(struct walk *w, const char *path, struct str above, unsigned depth);

static enum st walk_entry(struct walk *w, const char *path, struct str above, const char *entry, unsigned depth)
{
    char sub[PATH_SIZE];
    DEFER(buf_release) struct buf name = BUF_INIT(1024);
    bool dots = entry[0] == '.';
    if (strcmp(entry, ".") == 0 || strcmp(entry, "..") == 0 || strcmp(entry, "cur") == 0 || strcmp(entry, "new") == 0 ||
        strcmp(entry, "tmp") == 0 || !path_make(sub, path, entry, "") || !is_dir(sub))
        return ST_OK;
    buf_add(&name, above);
    if (above.n)
        buf_add_c(&name, '/');
    add_name(str_of(dots ? entry + 1 : entry), dots, &name); /* Maildir++: ".A.B" is A/B */
    if (!buf_ok(&name))
        return ST_OK;
    if (is_maildir(sub))
        TRY(add_folder(w, sub, buf_str(&name)));
    return dots ? ST_OK : walk_dir(w, sub, buf_str(&name), depth + 1);
}

static enum st walk_dir(struct walk *w, const char *path, struct str above, unsigned depth)
{
    ENSURE(depth < DEPTH_MAX, w->e, ST_LIMIT, "folders are nested too deep");
    DIR *d = opendir(path);
    ENSURE(d, w->e, ST_TEMP, "%s cannot be read: %s", path, strerror(errno));
    enum st st = ST_OK;
    for (struct dirent *entry; st == ST_OK && (entry = readdir(d));)
        st = walk_entry(w, path, above, entry->d_name, depth);
    closedir(d);
    return st;
}

enum st maildir_folders(const char *path, struct arena *arena, struct maildir_folder **out, size_t *count, struct err *e)
{
    struct walk w = {.arena = arena, .e = e};
    ENSURE(is_dir(path), e, ST_NOTFOUND, "%s is not a directory", path);
    if (is_maildir(path))
        TRY(add_folder(&w, path, STR("INBOX")));
    TRY(walk_dir(&w, path, STR_NONE, 0));
    ENSURE(w.count, e, ST_PERM, "%s holds no Maildir: a folder with cur/ and new/", path);
    *out = w.folders;
    *count = w.count;
    return ST_OK;
}

/* ---- reading ---- */

struct entry {
    uint64_t time; /* the number in front of the file name */
    bool is_new;
    char *name;
};

struct maildir {
    char path[PATH_SIZE];
    struct entry *entries;
    size_t count, room, at;
    char keywords[KEYWORD_LETTERS][MAILFILE_KEYWORD_LENGTH + 1]; /* dovecot-keywords */
    struct buf raw, bytes;
};

/* "3 $Label1" */
static void read_keyword(struct maildir *m, struct str line)
{
    uint32_t number;
    size_t space = str_find_char(line, ' ');
    struct str name = str_from(line, space == STR_NPOS ? line.n : space + 1);
    if (!str_to_u32(str_upto(line, space), &number) || number >= KEYWORD_LETTERS || name.n > MAILFILE_KEYWORD_LENGTH)
        return;
    memcpy(m->keywords[number], name.p, name.n);
    m->keywords[number][name.n] = '\0';
}

static void read_keywords(struct maildir *m)
{
    char path[PATH_SIZE], line[256];
    if (!path_make(path, m->path, "dovecot-keywords", ""))
        return;
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    while (fgets(line, sizeof line, f))
        read_keyword(m, str_trim(str_of(line)));
    fclose(f);
}

static enum st add_entry(struct maildir *m, const char *name, bool is_new, struct err *e)
{
    if (m->count == m->room) {
        size_t room = m->room ? m->room * 2 : 1024;
        struct entry *more = realloc(m->entries, room * sizeof *more);
        ENSURE(more, e, ST_TEMP, "out of memory");
        m->entries = more;
        m->room = room;
    }
    char *copy = strdup(name);
    ENSURE(copy, e, ST_TEMP, "out of memory");
    m->entries[m->count++] = (struct entry){strtoull(name, NULL, 10), is_new, copy};
    return ST_OK;
}

static enum st read_names(struct maildir *m, const char *sub, struct err *e)
{
    char path[PATH_SIZE];
    ENSURE(path_make(path, m->path, sub, ""), e, ST_LIMIT, "a path is too long");
    DIR *d = opendir(path);
    if (!d)
        return ST_OK; /* a missing new/ is an empty one */
    enum st st = ST_OK;
    for (struct dirent *entry; st == ST_OK && (entry = readdir(d));)
        if (entry->d_name[0] != '.')
            st = add_entry(m, entry->d_name, strcmp(sub, "new") == 0, e);
    closedir(d);
    return st;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *one = a, *two = b;
    if (one->time != two->time)
        return one->time < two->time ? -1 : 1;
    return strcmp(one->name, two->name);
}

enum st maildir_open(struct str folder_path, size_t message_max, struct maildir **out, struct err *e)
{
    ENSURE(folder_path.n < PATH_SIZE, e, ST_LIMIT, "a path is too long");
    struct maildir *m = calloc(1, sizeof *m);
    ENSURE(m, e, ST_TEMP, "out of memory");
    memcpy(m->path, folder_path.p, folder_path.n);
    buf_init(&m->raw, message_max);
    buf_init(&m->bytes, message_max);
    read_keywords(m);
    enum st st = read_names(m, "cur", e);
    if (st == ST_OK)
        st = read_names(m, "new", e);
    if (st != ST_OK) {
        maildir_close(m);
        return st;
    }
    if (m->count)
        qsort(m->entries, m->count, sizeof *m->entries, compare_entries);
    *out = m;
    return ST_OK;
}

size_t maildir_count(const struct maildir *m) { return m->count; }

void maildir_close(struct maildir *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        free(m->entries[i].name);
    free(m->entries);
    buf_release(&m->raw);
    buf_release(&m->bytes);
    free(m);
}

/* ":2,FS" behind the name; small letters are keywords. */
static void read_flags(const struct maildir *m, const char *name, struct mailfile_message *out)
{
    const char *flags = strstr(name, ":2,");
    if (!flags)
        flags = strstr(name, ";2,"); /* where ':' cannot be in file names */
    for (flags = flags ? flags + 3 : ""; *flags; flags++) {
        switch (*flags) {
        case 'S':
            out->flags |= MESSAGE_SEEN;
            break;
        case 'R':
            out->flags |= MESSAGE_ANSWERED;
            break;
        case 'F':
            out->flags |= MESSAGE_FLAGGED;
            break;
        case 'T':
            out->flags |= MESSAGE_DELETED;
            break;
        case 'D':
            out->flags |= MESSAGE_DRAFT;
            break;
        case 'P':
            if (out->keyword_count < MAILFILE_KEYWORDS_MAX)
                snprintf(out->keywords[out->keyword_count++], MAILFILE_KEYWORD_LENGTH + 1, "$Forwarded");
            break;
        default:
            if (*flags >= 'a' && *flags <= 'z' && m->keywords[*flags - 'a'][0] && out->keyword_count < MAILFILE_KEYWORDS_MAX)
                memcpy(out->keywords[out->keyword_count++], m->keywords[*flags - 'a'], MAILFILE_KEYWORD_LENGTH + 1);
        }
    }
}

static enum st read_file(struct maildir *m, const char *path, int64_t *mtime_ms, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return ST_NOTFOUND;
    ENSURE(fd >= 0 && fstat(fd, &st) == 0, e, ST_TEMP, "%s cannot be read: %s", path, strerror(errno));
    *mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    buf_clear(&m->raw);
    ssize_t n = 1;
    while (n > 0 && buf_ok(&m->raw)) {
        char *room = buf_reserve(&m->raw, (size_t)(st.st_size > 0 && m->raw.n == 0 ? st.st_size + 1 : 4096));
        n = room ? read(fd, room, st.st_size > 0 && m->raw.n == 0 ? (size_t)st.st_size + 1 : 4096) : -1;
        if (n > 0)
            buf_grew(&m->raw, (size_t)n);
    }
    close(fd);
    ENSURE(buf_ok(&m->raw), e, ST_LIMIT, "%s is longer than %zu bytes", path, m->raw.max);
    ENSURE(n == 0, e, ST_TEMP, "%s cannot be read: %s", path, strerror(errno));
    return ST_OK;
}

enum st maildir_next(struct maildir *m, struct mailfile_message *out, struct err *e)
{
    while (m->at < m->count) {
        char path[PATH_SIZE];
        struct entry *entry = &m->entries[m->at++];
        *out = (struct mailfile_message){0};
        ENSURE(path_make(path, m->path, entry->is_new ? "new" : "cur", entry->name), e, ST_LIMIT, "a path is too long");
        enum st st = read_file(m, path, &out->date_ms, e);
        if (st == ST_NOTFOUND)
            continue; /* moved or deleted by a mail reader */
        TRY(st);
        if (!entry->is_new)
            read_flags(m, entry->name, out);
        buf_clear(&m->bytes);
        m->bytes.max = m->raw.n * 2 + 2;
        mailfile_add_crlf(buf_str(&m->raw), &m->bytes);
        ENSURE(buf_ok(&m->bytes), e, ST_TEMP, "out of memory");
        out->bytes = buf_str(&m->bytes);
        return ST_OK;
    }
    return ST_NOTFOUND;
}

/* ---- writing ---- */

struct maildir_writer {
    char path[PATH_SIZE];
    char host[65];
    uint64_t number;
    char keywords[KEYWORD_LETTERS][MAILFILE_KEYWORD_LENGTH + 1];
    size_t keyword_count;
    struct buf text;
};

static enum st make_dirs(const char *path, struct err *e)
{
    static const char *const subs[] = {"", "tmp", "new", "cur"};
    for (size_t i = 0; i < sizeof subs / sizeof *subs; i++) {
        char sub[PATH_SIZE];
        ENSURE(path_make(sub, path, subs[i], ""), e, ST_LIMIT, "a path is too long");
        ENSURE(mkdir(sub, 0700) == 0 || errno == EEXIST, e, ST_TEMP, "%s cannot be made: %s", sub, strerror(errno));
    }
    return ST_OK;
}

enum st maildir_create(const char *top, struct str name, struct maildir_writer **out, struct err *e)
{
    DEFER(buf_release) struct buf folder = BUF_INIT(1024);
    struct maildir_writer *w = calloc(1, sizeof *w);
    ENSURE(w, e, ST_TEMP, "out of memory");
    if (!str_eq(name, STR("INBOX"))) {
        struct buf encoded = BUF_INIT(1024);
        buf_add_c(&folder, '.');
        (void)!utf7_encode(name, &encoded);
        for (size_t i = 0; i < encoded.n; i++)
            buf_add_c(&folder, encoded.p[i] == '/' ? '.' : encoded.p[i] == '.' ? '_' : encoded.p[i]);
        buf_release(&encoded);
    }
    const char *sub = buf_z(&folder);
    buf_init(&w->text, 0);
    gethostname(w->host, sizeof w->host - 1);
    for (char *p = w->host; *p; p++)
        if (*p == '/' || *p == ':')
            *p = '_';
    enum st st = sub && path_make(w->path, top, sub, "") ? ST_OK : ERR_PUBLIC(e, ST_LIMIT, "a path is too long");
    if (st == ST_OK && mkdir(top, 0700) != 0 && errno != EEXIST)
        st = ERR_PUBLIC(e, ST_TEMP, "%s cannot be made: %s", top, strerror(errno));
    if (st == ST_OK)
        st = make_dirs(w->path, e);
    if (st != ST_OK) {
        free(w);
        return st;
    }
    *out = w;
    return ST_OK;
}

/* The letter of a keyword, 0 if there are no more letters. */
static char keyword_letter(struct maildir_writer *w, const char *keyword)
{
    size_t i = 0;
    while (i < w->keyword_count && strcmp(w->keywords[i], keyword) != 0)
        i++;
    if (i == KEYWORD_LETTERS)
        return '\0';
    if (i == w->keyword_count)
        snprintf(w->keywords[w->keyword_count++], MAILFILE_KEYWORD_LENGTH + 1, "%s", keyword);
    return (char)('a' + i);
}

static void print_flags(struct maildir_writer *w, const struct mailfile_message *m, char out[48])
{
    size_t n = 0;
    bool passed = false;
    char letters[MAILFILE_KEYWORDS_MAX + 1] = {0};
    size_t letter_count = 0;
    for (size_t i = 0; i < m->keyword_count; i++) {
        if (strcasecmp(m->keywords[i], "$Forwarded") == 0) {
            passed = true;
            continue;
        }
        char letter = keyword_letter(w, m->keywords[i]);
        if (letter)
            letters[letter_count++] = letter;
    }
    const struct {
        bool on;
        char letter;
    } flags[] = {
        {m->flags & MESSAGE_DRAFT, 'D'}, {m->flags & MESSAGE_FLAGGED, 'F'}, {passed, 'P'}, {m->flags & MESSAGE_ANSWERED, 'R'},
        {m->flags & MESSAGE_SEEN, 'S'},  {m->flags & MESSAGE_DELETED, 'T'}}; /* in ASCII order, as Maildir wants it */
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (flags[i].on)
            out[n++] = flags[i].letter;
    memcpy(out + n, letters, letter_count);
    out[n + letter_count] = '\0';
}

static bool write_text(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return false;
        text = str_from(text, n > 0 ? (size_t)n : 0);
    }
    return true;
}

enum st maildir_write(struct maildir_writer *w, const struct mailfile_message *m, struct err *e)
{
    char name[256], full[400], flags[48], temporary[PATH_SIZE], final[PATH_SIZE];
    buf_clear(&w->text);
    w->text.max = m->bytes.n + 1;
    mailfile_add_lf(m->bytes, &w->text);
    ENSURE(buf_ok(&w->text), e, ST_TEMP, "out of memory");
    print_flags(w, m, flags);
    snprintf(name, sizeof name, "%lld.M%06lluP%dQ%llu.%s", (long long)(m->date_ms / 1000),
             (unsigned long long)(m->date_ms % 1000) * 1000, (int)getpid(), (unsigned long long)w->number++, w->host);
    snprintf(full, sizeof full, "%s,S=%zu:2,%s", name, w->text.n, flags);
    ENSURE(path_make(temporary, w->path, "tmp", name) && path_make(final, w->path, "cur", full), e, ST_LIMIT, "a path is too long");
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ENSURE(fd >= 0, e, ST_TEMP, "%s cannot be written: %s", temporary, strerror(errno));
    const struct timespec times[2] = {{m->date_ms / 1000, m->date_ms % 1000 * 1000000},
                                      {m->date_ms / 1000, m->date_ms % 1000 * 1000000}};
    bool ok = write_text(fd, buf_str(&w->text)) && (m->date_ms == 0 || futimens(fd, times) == 0);
    ok = close(fd) == 0 && ok;
    if (ok && rename(temporary, final) == 0)
        return ST_OK;
    int why = errno;
    unlink(temporary);
    return ERR_PUBLIC(e, ST_TEMP, "%s cannot be written: %s", final, strerror(why));
}

enum st maildir_finish(struct maildir_writer *w, struct err *e)
{
    char path[PATH_SIZE];
    enum st st = ST_OK;
    FILE *f = w->keyword_count && path_make(path, w->path, "dovecot-keywords", "") ? fopen(path, "we") : NULL;
    for (size_t i = 0; f && i < w->keyword_count; i++)
        fprintf(f, "%zu %s\n", i, w->keywords[i]);
    if (w->keyword_count && (!f || fclose(f) != 0))
        st = ERR_PUBLIC(e, ST_TEMP, "dovecot-keywords cannot be written in %s", w->path);
    buf_release(&w->text);
    free(w);
    return st;
}
