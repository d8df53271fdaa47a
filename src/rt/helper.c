#include "rt/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rt/helper_wire.h"
#include "rt/waiting.h"

enum { GIVE_UP_LOOK_MS = 200 };

static atomic_int supervisor = -1;

void helper_connect(int fd) { supervisor = fd; }

bool helper_variable_ok(struct str name, struct str value)
{
    static const char *const names[] = {"SENDER",     "RECIPIENT", "USER", "DETAIL", "DOMAIN",
                                        "MESSAGE_ID", "QUEUE_ID",  "SIZE", "CLIENT", "TYPE"};
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        known |= str_eq(name, str_of(names[i]));
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
            return false;
    return known && value.n <= HELPER_VALUE_MAX;
}

static enum st write_request(const struct helper_job *job, struct buf *out, struct err *e)
{
    ENSURE(job->variable_count <= HELPER_VARIABLES_MAX, e, ST_PERM, "at most %d variables are possible", HELPER_VARIABLES_MAX);
    buf_add_z(out, job->program);
    buf_add_c(out, '\0');
    for (size_t i = 0; i < job->variable_count; i++) {
        const struct helper_variable *v = &job->variables[i];
        ENSURE(helper_variable_ok(str_of(v->name), v->value), e, ST_PERM, "%.40s cannot be given to a program", v->name);
        buf_printf(out, "%s=", v->name);
        buf_add(out, v->value);
        buf_add_c(out, '\0');
    }
    ENSURE(buf_ok(out), e, ST_TEMP, "out of memory");
    return ST_OK;
}

static enum st send_request(struct str request, const int fds[HELPER_FDS], struct err *e)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * HELPER_FDS)];
    } control = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)request.p, request.n};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * HELPER_FDS);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * HELPER_FDS);
    ssize_t n = sendmsg(supervisor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n != (ssize_t)request.n)
        return ERR(e, ST_TEMP, "the program cannot be started now", "to the supervisor: %s", strerror(errno));
    return ST_OK;
}

/* Takes output as long as there is some. False at its end. */
static bool take_output(int fd, struct buf *output, bool *cut_off)
{
    char bytes[8192];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    size_t fits = (size_t)n < buf_room(output) ? (size_t)n : buf_room(output);
    buf_add(output, str_make(bytes, fits));
    *cut_off |= fits < (size_t)n;
    return n > 0;
}

/* What the program wrote lies in the pipe when its answer comes, perhaps since after poll(2) looked. A pipe holds 64 KB: more is of
 * its children, who are not waited for. */
static void take_rest(int fd, struct buf *output, bool *cut_off)
{
    enum { READS_MAX = 8 };
    for (int i = 0; i < READS_MAX; i++)
        if (!take_output(fd, output, cut_off))
            return;
}

/* Until the answer has come; whoever holds the output open longer (children of the program) is not waited for. */
static enum st follow(const struct helper_job *job, const int from[2], struct buf *output, bool *cut_off,
                      struct helper_answer *answer, struct err *e)
{
    struct pollfd fds[] = {{from[0], POLLIN, 0}, {from[1], POLLIN, 0}};
    for (;;) {
        ENSURE(!job->give_up || !*job->give_up, e, ST_TEMP, "the server stops");
        int n = poll(fds, 2, job->give_up ? GIVE_UP_LOOK_MS : -1);
        if (n < 0 && errno != EINTR)
            return ERR(e, ST_TEMP, "the program was lost", "poll: %s", strerror(errno));
        if (n <= 0)
            continue;
        if (fds[1].revents)
            break;
        if ((fds[0].revents & (POLLIN | POLLHUP)) && !take_output(from[0], output, cut_off))
            fds[0].fd = -1;
    }
    take_rest(from[0], output, cut_off);
    if (read(from[1], answer, sizeof *answer) != (ssize_t)sizeof *answer)
        return ERR(e, ST_TEMP, "the program was lost", "the supervisor gave no answer");
    return ST_OK;
}

static enum st read_answer(const struct helper_answer *a, const char *program, struct helper_result *result, struct err *e)
{
    switch ((enum helper_outcome)a->outcome) {
    case HELPER_EXITED:
        result->exit_code = a->value;
        return ST_OK;
    case HELPER_LATE:
    case HELPER_SIGNALLED:
        result->late = a->outcome == HELPER_LATE;
        result->signal = a->value;
        return ST_OK;
    case HELPER_UNKNOWN:
        return ERR_PUBLIC(e, ST_NOTFOUND, "there is no program \"%.60s\" in the configuration", program);
    case HELPER_BUSY:
        return ERR_PUBLIC(e, ST_TEMP, "too many programs run at the moment");
    case HELPER_NOT_STARTED:
        return ERR(e, ST_TEMP, "the program cannot be started", "%s: %s", program, strerror(a->value));
    case HELPER_MALFORMED:
        return ERR(e, ST_BUG, "the program cannot be started", "the supervisor did not understand the request");
    }
    return ERR(e, ST_BUG, "the program cannot be started", "outcome %d", (int)a->outcome);
}

static void close_pair(const int fds[2])
{
    close(fds[0]);
    close(fds[1]);
}

static enum st run(const struct helper_job *job, struct str request, struct buf *output, struct helper_result *result,
                   struct err *e)
{
    int out[2], reply[2], nothing = job->input < 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(nothing);
        return ERR(e, ST_TEMP, "the program cannot be started now", "pipe: %s", strerror(errno));
    }
    if (pipe2(reply, O_CLOEXEC) != 0) {
        close(nothing);
        close_pair(out);
        return ERR(e, ST_TEMP, "the program cannot be started now", "pipe: %s", strerror(errno));
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    struct helper_answer answer = {0, 0};
    enum st s = send_request(request, (int[]){job->input < 0 ? nothing : job->input, out[1], reply[1]}, e);
    close(out[1]);
    close(reply[1]);
    waiting_begin();
    if (s == ST_OK)
        s = follow(job, (int[]){out[0], reply[0]}, output, &result->cut_off, &answer, e);
    waiting_end();
    close(out[0]);
    close(reply[0]);
    if (nothing >= 0)
        close(nothing);
    return s == ST_OK ? read_answer(&answer, job->program, result, e) : s;
}

enum st helper_run(const struct helper_job *job, struct buf *output, struct helper_result *result, struct err *e)
{
    *result = (struct helper_result){.exit_code = -1};
    ENSURE(supervisor >= 0, e, ST_TEMP, "programs can be run only under the supervisor");
    DEFER(buf_release) struct buf request = BUF_INIT(HELPER_REQUEST_MAX);
    TRY(write_request(job, &request, e));
    return run(job, buf_str(&request), output, result, e);
}
