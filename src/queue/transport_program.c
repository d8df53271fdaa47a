/* Delivery to a program that a route of the configuration names. The helper runs it: no network, a user of its own, bounded time.
 *
 * One run for each recipient, and one recipient for each call of deliver, so that the worker writes down what became of one before
 * the next run begins: a crash repeats one run at most. */
#include "queue/transport_program.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "format/charset.h"
#include "queue/queue_internal.h"
#include "queue/route.h"
#include "queue/transport.h"

enum { READ_BYTES = 256 << 10, OUTPUT_MAX = 4096, STATUS_MAX = 512 };

struct program {
    struct transport base;
    struct queue *q;
    char name[DESTINATION_NAME_MAX]; /* of its section */
};

/* ---- what its end means ---- */

/* sysexits.h. Final is what the program says of the message or the recipient; what it says of itself or of the machine is for the
 * operator to repair, and nobody's mail is returned for that. Any other code: in doubt temporary. */
static const struct {
    int code;
    enum attempt_result result;
    const char *status, *text;
} exits[] = {
    {0, ATTEMPT_RELAYED, "2.0.0", "Taken by the program"}, /* RFC 3461 5.2.4 (b): it reports no success of its own */
    {64, ATTEMPT_TEMP, "4.3.5", "The program was called in a way that it does not know"},
    {65, ATTEMPT_PERM, "5.6.0", "The program does not take such a message"},
    {67, ATTEMPT_PERM, "5.1.1", "The program does not know the recipient"},
    {68, ATTEMPT_PERM, "5.1.2", "The program does not know the host"},
    {69, ATTEMPT_PERM, "5.3.0", "The program does not deliver this"},
    {77, ATTEMPT_PERM, "5.7.1", "The program refuses this sender or recipient"},
    {78, ATTEMPT_TEMP, "4.3.5", "The program's configuration is wrong"},
};

static struct str first_line(struct str output)
{
    struct str line = STR_NONE;
    while (line.n == 0 && str_split(&output, '\n', &line))
        line = str_trim(line);
    return line;
}

static void put_status(struct buf *out, enum attempt_result result, const char *code, const char *text, struct str line)
{
    struct str own = attempt_status_code(line, false, STR_NONE);
    char class = result == ATTEMPT_PERM ? '5' : result == ATTEMPT_TEMP ? '4' : '2';
    buf_clear(out);
    line = charset_cut(line, STATUS_MAX - 64);
    if (own.n == 0 || own.p[0] != class) {
        buf_printf(out, "%s ", code);
        if (line.n == 0)
            buf_add_z(out, text);
    }
    buf_add(out, line);
}

enum attempt_result program_result(const struct helper_result *r, struct str output, struct buf *status)
{
    struct str line = first_line(output);
    if (r->late)
        put_status(status, ATTEMPT_TEMP, "4.3.0", "", STR("The program did not end in time"));
    else if (r->exit_code < 0)
        put_status(status, ATTEMPT_TEMP, "4.3.0", "", STR("A signal ended the program"));
    if (r->late || r->exit_code < 0)
        return ATTEMPT_TEMP;
    for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++)
        if (exits[i].code == r->exit_code) {
            put_status(status, exits[i].result, exits[i].status, exits[i].text, line);
            return exits[i].result;
        }
    put_status(status, ATTEMPT_TEMP, "4.3.0", "The program failed", line);
    return ATTEMPT_TEMP;
}

/* ---- the message as its standard input ---- */

static enum st write_all(int fd, struct str bytes, struct err *e)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR(e, ST_TEMP, "The message cannot be handed over now", "spool: %s", strerror(errno));
        bytes = str_from(bytes, (size_t)n);
    }
    return ST_OK;
}

static enum st copy_message(struct attempt *a, int fd, struct err *e)
{
    DEFER(buf_release) struct buf piece = BUF_INIT(READ_BYTES);
    for (uint64_t at = 0; at < attempt_size(a);) {
        uint64_t left = attempt_size(a) - at;
        buf_clear(&piece);
        TRY(attempt_read(a, at, left < READ_BYTES ? (size_t)left : READ_BYTES, &piece, e));
        ENSURE(piece.n > 0, e, ST_CORRUPT, "The queued message is incomplete");
        TRY(write_all(fd, buf_str(&piece), e));
        at += piece.n;
    }
    return ST_OK;
}

/* The same file, for reading only: what the program holds it can neither change nor make grow. */
static enum st open_for_reading(int fd, int *out, struct err *e)
{
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    *out = open(name, O_RDONLY | O_CLOEXEC);
    return *out >= 0 ? ST_OK : ERR(e, ST_TEMP, "The message cannot be handed over now", "%s: %s", name, strerror(errno));
}

/* A file that has no name and never gets one (O_EXCL): the program may read it as slowly as it likes, or not at all, and a crash
 * leaves nothing. Each run gets its own, for the program shares the position. */
static enum st open_input(struct program *p, struct attempt *a, int *out, struct err *e)
{
    const char *folder = p->q->spool_dir;
    int fd = folder[0] ? open(folder, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600) : memfd_create("message", MFD_CLOEXEC);
    if (fd < 0)
        return ERR(e, ST_TEMP, "The message cannot be handed over now", "%s: %s", folder, strerror(errno));
    enum st st = copy_message(a, fd, e);
    if (st == ST_OK)
        st = open_for_reading(fd, out, e);
    close(fd);
    return st;
}

/* ---- one run ---- */

struct run {
    int input;
    struct buf output;
    struct helper_result result;
};

static enum st run_program(struct program *p, const struct attempt *a, size_t i, struct run *run, struct err *e)
{
    char id[QUEUE_ID_TEXT_MAX], size[24];
    struct str address = a->record.recipients[i].address;
    size_t at = str_rfind_char(address, '@');
    queue_id_print(&a->id, id);
    snprintf(size, sizeof size, "%llu", (unsigned long long)attempt_size(a));
    const struct helper_variable variables[] = {
        {"SENDER", a->record.reverse_path}, {"RECIPIENT", address},
        {"USER", str_upto(address, at)},    {"DOMAIN", at == STR_NPOS ? STR_NONE : str_from(address, at + 1)},
        {"QUEUE_ID", str_of(id)},           {"SIZE", str_of(size)},
    };
    struct helper_job job = {p->name, run->input, variables, sizeof variables / sizeof variables[0], &p->q->breaking};
    return helper_run(&job, &run->output, &run->result, e);
}

/* ST_PERM: an address that no variable may hold. ST_NOTFOUND: the routes were read again, the programs were not. */
static void not_run(struct attempt *a, size_t i, enum st st, const struct err *e)
{
    char status[STATUS_MAX];
    const char *code = st == ST_PERM ? "5.1.3" : st == ST_NOTFOUND ? "4.3.5" : "4.3.0";
    snprintf(status, sizeof status, "%s %s", code, e->text);
    attempt_set(a, i, st == ST_PERM ? ATTEMPT_PERM : ATTEMPT_TEMP, str_of(status), false, STR_NONE);
}

static void deliver_one(struct program *p, struct attempt *a, size_t i)
{
    struct err e = {0};
    struct run run = {.input = -1, .output = BUF_INIT(OUTPUT_MAX)};
    DEFER(buf_release) struct buf status = BUF_INIT(STATUS_MAX);
    enum st st = open_input(p, a, &run.input, &e);
    a->broken_store = st == ST_NOTFOUND || st == ST_CORRUPT;
    if (st != ST_OK) {
        attempt_set_all(a, ATTEMPT_TEMP, STR("4.3.0 The message cannot be read now"), false, STR_NONE);
        return;
    }
    st = run_program(p, a, i, &run, &e);
    close(run.input);
    if (st == ST_OK) {
        enum attempt_result became = program_result(&run.result, buf_str(&run.output), &status);
        attempt_set(a, i, became, buf_str(&status), false, STR_NONE);
    } else {
        not_run(a, i, st, &e);
    }
    buf_release(&run.output);
}

static enum transport_state program_deliver(struct transport *t, struct attempt *a)
{
    struct program *p = (struct program *)t;
    if (atomic_load(&p->q->breaking))
        attempt_set_all(a, ATTEMPT_TEMP, STR("4.3.2 The server stops"), false, STR_NONE);
    for (size_t i = 0; i < a->record.count; i++)
        if (attempt_open(a, i)) {
            deliver_one(p, a, i);
            break;
        }
    return TRANSPORT_READY;
}

/* ---- the transport ---- */

static bool program_open(struct queue *q, struct str destination, struct transport **out, struct transport_failure *why)
{
    struct program *p = calloc(1, sizeof *p);
    if (!p) {
        *why = (struct transport_failure){.result = ATTEMPT_TEMP, .status = "4.3.0 Out of memory"};
        return false;
    }
    struct str name = str_from(destination, strlen(ROUTE_PROGRAM));
    p->base.class = &transport_program;
    p->q = q;
    snprintf(p->name, sizeof p->name, "%.*s", STR_FMT(name));
    *out = &p->base;
    return true;
}

static void program_close(struct transport *t) { free(t); }

const struct transport_class transport_program = {"program", program_open, program_deliver, program_close};
