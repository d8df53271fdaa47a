/* mailbox export: an account's mail into mbox files or a Maildir. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/command.h"
#include "app/config.h"
#include "app/link.h"
#include "app/mailfile.h"
#include "app/progress.h"

struct job {
    const struct command_line *line;
    const char *path;
    bool maildir;
    bool single; /* one mailbox: an mbox is written to path itself */
    FILE *mbox;
    char mbox_path[CONFIG_PATH_MAX];
    struct maildir_writer *writer;
    struct buf text;
    uint64_t count, mailboxes;
    struct progress progress;
};

static enum st close_target(struct job *j, struct err *e)
{
    enum st st = ST_OK;
    if (j->mbox && fclose(j->mbox) != 0)
        st = ERR_PUBLIC(e, ST_TEMP, "%s cannot be written: %s", j->mbox_path, strerror(errno));
    j->mbox = NULL;
    if (j->writer)
        st = maildir_finish(j->writer, e);
    j->writer = NULL;
    return st;
}

/* path/Sent/2024.mbox for the mailbox Sent/2024: what is a level there is a directory here. */
static enum st mbox_path_of(struct job *j, const char *mailbox, struct err *e)
{
    int n = j->single ? snprintf(j->mbox_path, sizeof j->mbox_path, "%s", j->path)
                      : snprintf(j->mbox_path, sizeof j->mbox_path, "%s/%s.mbox", j->path, mailbox);
    ENSURE(n > 0 && (size_t)n < sizeof j->mbox_path, e, ST_LIMIT, "a path is too long");
    ENSURE(!strstr(mailbox, "../") && strncmp(mailbox, "..", 3) != 0, e, ST_PERM, "the mailbox %s cannot be a file's name",
           mailbox);
    char *slash = strrchr(j->mbox_path, '/');
    if (j->single || !slash)
        return ST_OK;
    *slash = '\0';
    enum st st = config_make_dir(j->mbox_path, 0700, e);
    *slash = '/';
    return st;
}

static enum st open_target(struct job *j, const json_t *mailbox, struct err *e)
{
    const char *name = json_string_value(json_object_get(mailbox, "mailbox"));
    ENSURE(name, e, ST_BUG, "a mailbox without a name");
    TRY(close_target(j, e));
    j->mailboxes++;
    if (j->maildir)
        return maildir_create(j->path, str_of(name), &j->writer, e);
    TRY(mbox_path_of(j, name, e));
    if (strcmp(j->path, "-") == 0 && j->single) {
        j->mbox = stdout;
        return ST_OK;
    }
    j->mbox = fopen(j->mbox_path, "wxe");
    ENSURE(j->mbox, e, errno == EEXIST ? ST_EXISTS : ST_TEMP, "%s cannot be written: %s", j->mbox_path, strerror(errno));
    return ST_OK;
}

static enum st write_message(struct job *j, const struct link_reply *reply, struct err *e)
{
    size_t i;
    json_t *keyword;
    struct mailfile_message m = {.bytes = reply->bytes,
                                 .flags = (uint32_t)json_integer_value(json_object_get(reply->value, "flags")),
                                 .date_ms = json_integer_value(json_object_get(reply->value, "date_ms"))};
    json_array_foreach(json_object_get(reply->value, "keywords"), i, keyword)
    {
        const char *text = json_string_value(keyword);
        if (text && m.keyword_count < MAILFILE_KEYWORDS_MAX)
            snprintf(m.keywords[m.keyword_count++], MAILFILE_KEYWORD_LENGTH + 1, "%s", text);
    }
    progress_show(&j->progress, 0, ++j->count);
    if (j->writer)
        return maildir_write(j->writer, &m, e);
    ENSURE(j->mbox, e, ST_BUG, "a message without a mailbox");
    buf_clear(&j->text);
    j->text.max = m.bytes.n * 2 + 4096;
    mboxfile_print(&m, &j->text);
    ENSURE(buf_ok(&j->text), e, ST_TEMP, "out of memory");
    ENSURE(fwrite(j->text.p, 1, j->text.n, j->mbox) == j->text.n, e, ST_TEMP, "%s cannot be written: %s", j->mbox_path,
           strerror(errno));
    return ST_OK;
}

static enum st run(struct job *j, struct link *l, struct err *e)
{
    const char *mailbox = command_value(j->line, "mailbox");
    json_t *request = json_pack("{s:s, s:s}", "do", "mailbox.export", "user", j->line->args[0]);
    if (mailbox)
        json_object_set_new(request, "mailbox", json_string(mailbox));
    TRY(link_request(l, request, e));
    progress_begin(&j->progress, 0);
    for (;;) {
        struct link_reply reply;
        TRY(link_next(l, &reply, e));
        switch (reply.kind) {
        case LINK_ROW:
            TRY(open_target(j, reply.value, e));
            break;
        case LINK_MESSAGE:
            TRY(write_message(j, &reply, e));
            break;
        case LINK_NOTE:
            break;
        case LINK_DONE:
            return ST_OK;
        }
    }
}

enum command_exit cmd_mailbox_export(const struct command_line *line)
{
    struct err e = {0}, ignored = {0};
    struct link *l = NULL;
    const char *format = command_value(line, "format");
    if (format && strcmp(format, "mbox") != 0 && strcmp(format, "maildir") != 0)
        return command_complain(EXIT_USAGE, "--format: mbox or maildir");
    struct job j = {.line = line,
                    .path = line->args[1],
                    .maildir = format && strcmp(format, "maildir") == 0,
                    .single = command_value(line, "mailbox") != NULL};
    buf_init(&j.text, 0);
    enum st st = link_open(line, &l, &e);
    if (st == ST_OK)
        st = run(&j, l, &e);
    progress_end(&j.progress);
    enum st closed = close_target(&j, st == ST_OK ? &e : &ignored);
    st = st == ST_OK ? closed : st;
    buf_release(&j.text);
    link_close(l);
    if (st != ST_OK)
        return command_fail(st, &e);
    if (command_flag(line, "json")) {
        json_t *done = json_pack("{s:I, s:I}", "messages", (json_int_t)j.count, "mailboxes", (json_int_t)j.mailboxes);
        command_print_json(done);
        json_decref(done);
    } else if (strcmp(j.path, "-") != 0) {
        printf("%llu messages of %llu mailboxes exported\n", (unsigned long long)j.count, (unsigned long long)j.mailboxes);
    }
    return EXIT_DONE;
}
