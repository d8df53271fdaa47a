/* mailbox import: mbox files and Maildirs into an account. The files are read here, by whoever runs the command; the messages go
 * over the administration link. */
#include <stdio.h>
#include <sys/stat.h>

#include "app/command.h"
#include "app/config.h"
#include "app/link.h"
#include "app/mailfile.h"
#include "app/progress.h"

struct job {
    const struct command_line *line;
    struct link *link;
    const char *path, *target; /* target: --mailbox, or NULL */
    struct progress progress;
    uint64_t sent;   /* messages */
    uint64_t failed; /* messages that could not be read */
    size_t message_max;
};

static enum st send_message(struct job *j, const struct mailfile_message *m, struct str mailbox, struct err *e)
{
    json_t *keywords = json_array();
    for (size_t i = 0; i < m->keyword_count; i++)
        json_array_append_new(keywords, json_string(m->keywords[i]));
    json_t *meta = json_pack("{s:s%, s:i, s:I, s:o}", "mailbox", mailbox.p, mailbox.n, "flags", (int)m->flags, "date_ms",
                             (json_int_t)m->date_ms, "keywords", keywords);
    ENSURE(meta, e, ST_PERM, "the mailbox name %.*s is not UTF-8", STR_FMT(mailbox));
    TRY(link_append(j->link, meta, m->bytes, e));
    j->sent++;
    return ST_OK;
}

/* ---- mbox ---- */

static bool is_file(const char *path)
{
    struct stat st;
    return strcmp(path, "-") == 0 || (stat(path, &st) == 0 && !S_ISDIR(st.st_mode));
}

static enum st import_mbox(struct job *j, struct err *e)
{
    const char *format = command_value(j->line, "format");
    enum mboxfile_quoting quoting = MBOXFILE_RD;
    struct mboxfile *m = NULL;
    struct mailfile_message message;
    if (format && strcmp(format, "mboxo") == 0)
        quoting = MBOXFILE_O;
    if (format && strcmp(format, "mboxcl") == 0)
        quoting = MBOXFILE_NONE;
    TRY(mboxfile_open(j->path, quoting, j->message_max, &m, e));
    progress_begin(&j->progress, mboxfile_size(m));
    enum st st;
    while ((st = mboxfile_next(m, &message, e)) == ST_OK) {
        st = send_message(j, &message, str_of(j->target ? j->target : "INBOX"), e);
        if (st != ST_OK)
            break;
        progress_show(&j->progress, mboxfile_position(m), j->sent);
    }
    progress_end(&j->progress);
    mboxfile_close(m);
    return st == ST_NOTFOUND ? ST_OK : st;
}

/* ---- Maildir ---- */

/* With --mailbox X the top goes to X and the folders below it; else INBOX and the folders' own names. */
static struct str target_of(const struct job *j, const struct maildir_folder *f, struct buf *name)
{
    if (!j->target)
        return f->name;
    buf_add_z(name, j->target);
    if (!str_eq(f->name, STR("INBOX"))) {
        buf_add_c(name, '/');
        buf_add(name, f->name);
    }
    return buf_str(name);
}

static enum st import_folder(struct job *j, const struct maildir_folder *f, uint64_t *done, struct err *e)
{
    DEFER(buf_release) struct buf name = BUF_INIT(2048);
    struct maildir *m = NULL;
    struct mailfile_message message;
    bool received = command_flag(j->line, "received-date");
    TRY(maildir_open(f->path, j->message_max, &m, e));
    struct str target = target_of(j, f, &name);
    enum st st;
    while ((st = maildir_next(m, &message, e)) != ST_NOTFOUND) {
        if (st == ST_LIMIT) { /* one too long message does not stop the others */
            fprintf(stderr, "postrider: %s\n", e->text);
            *e = (struct err){0};
            j->failed++;
            continue;
        }
        int64_t date = st == ST_OK && received ? mailfile_received_ms(message.bytes) : 0;
        message.date_ms = date ? date : message.date_ms;
        if (st == ST_OK)
            st = send_message(j, &message, target, e);
        if (st != ST_OK)
            break;
        progress_show(&j->progress, ++*done, j->sent);
    }
    maildir_close(m);
    return st == ST_NOTFOUND ? ST_OK : st;
}

static enum st import_maildir(struct job *j, struct err *e)
{
    DEFER(arena_release) struct arena arena = ARENA_INIT(64 << 20);
    struct maildir_folder *folders = NULL;
    size_t count = 0;
    uint64_t total = 0, done = 0;
    TRY(maildir_folders(j->path, &arena, &folders, &count, e));
    for (size_t i = 0; i < count; i++) {
        struct maildir *m = NULL;
        TRY(maildir_open(folders[i].path, j->message_max, &m, e));
        total += maildir_count(m);
        maildir_close(m);
    }
    progress_begin(&j->progress, total);
    enum st st = ST_OK;
    for (size_t i = 0; i < count && st == ST_OK; i++)
        st = import_folder(j, &folders[i], &done, e);
    progress_end(&j->progress);
    return st;
}

/* ---- the command ---- */

static enum st run(struct job *j, json_t **done, struct err *e)
{
    json_t *request =
        json_pack("{s:s, s:s, s:b}", "do", "mailbox.import", "user", j->line->args[0], "again", command_flag(j->line, "again"));
    TRY(link_request(j->link, request, e));
    TRY(is_file(j->path) ? import_mbox(j, e) : import_maildir(j, e));
    TRY(link_end(j->link, e));
    struct link_reply reply = {0};
    do
        TRY(link_next(j->link, &reply, e));
    while (reply.kind != LINK_DONE);
    *done = json_incref(reply.value);
    return ST_OK;
}

enum command_exit cmd_mailbox_import(const struct command_line *line)
{
    struct err e = {0};
    struct job j = {.line = line, .path = line->args[1], .target = command_value(line, "mailbox")};
    json_t *done = NULL;
    enum st st = link_open(line, &j.link, &e);
    if (st == ST_OK) {
        const struct settings *s = settings_current();
        j.message_max = (size_t)s->message_size_max;
        settings_unref(s);
        st = run(&j, &done, &e);
        if (st != ST_OK && link_said_why(j.link, &e)) /* the server refused while we were sending */
            st = e.class;
    }
    link_close(j.link);
    if (st != ST_OK)
        return command_fail(st, &e);
    json_object_set_new(done, "unreadable", json_integer((json_int_t)j.failed));
    if (command_flag(line, "json"))
        command_print_json(done);
    else
        printf("%lld messages imported, %lld were there already\n",
               (long long)json_integer_value(json_object_get(done, "imported")),
               (long long)json_integer_value(json_object_get(done, "skipped")));
    json_decref(done);
    return j.failed ? EXIT_REFUSED : EXIT_DONE;
}
