#include "rt/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WRITE_BYTES = 256 << 10, MEMORY_FIRST = 16 << 10 };

void spool_init(struct spool *s, const char *folder, uint64_t size_max, size_t memory_max)
{
    *s = (struct spool){.folder = folder,
                        .size_max = size_max,
                        .memory_max = memory_max,
                        .fd = -1,
                        .start = SPOOL_FRONT_MAX,
                        .pending = BUF_INIT(WRITE_BYTES * 2)};
}

void spool_release(struct spool *s)
{
    if (s->mapped)
        munmap(s->mapped, s->mapped_size);
    if (s->fd >= 0)
        close(s->fd);
    free(s->memory);
    buf_release(&s->pending);
    spool_init(s, s->folder, s->size_max, s->memory_max);
}

static enum st failed(const char *doing, struct err *e)
{
    return ERR(e, ST_TEMP, errno == ENOSPC || errno == EDQUOT ? "insufficient system storage" : "the spool is not available",
               "%s: %s", doing, strerror(errno));
}

static enum st write_all(struct spool *s, const char *p, size_t n, struct err *e)
{
    while (n > 0) {
        ssize_t done = write(s->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return failed("writing to the spool", e);
        p += done;
        n -= (size_t)done;
    }
    return ST_OK;
}

static enum st flush(struct spool *s, struct err *e)
{
    TRY(write_all(s, s->pending.p, s->pending.n, e));
    buf_clear(&s->pending);
    return ST_OK;
}

/* From memory to a file, once. */
static enum st move_to_file(struct spool *s, struct err *e)
{
    s->fd = open(s->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (s->fd < 0)
        return failed(s->folder, e);
    if (lseek(s->fd, SPOOL_FRONT_MAX, SEEK_SET) < 0)
        return failed("positioning in the spool", e);
    TRY(write_all(s, s->memory ? s->memory + SPOOL_FRONT_MAX : "", (size_t)s->size, e));
    free(s->memory);
    s->memory = NULL;
    s->memory_size = 0;
    return ST_OK;
}

static enum st grow_memory(struct spool *s, size_t body, struct err *e)
{
    size_t need = SPOOL_FRONT_MAX + body;
    if (need <= s->memory_size)
        return ST_OK;
    size_t size = s->memory_size ? s->memory_size : SPOOL_FRONT_MAX + MEMORY_FIRST;
    while (size < need)
        size *= 2;
    char *p = realloc(s->memory, size);
    ENSURE(p, e, ST_TEMP, "out of memory");
    s->memory = p;
    s->memory_size = size;
    return ST_OK;
}

static enum st append_to_file(struct spool *s, struct str bytes, struct err *e)
{
    if (bytes.n >= WRITE_BYTES) {
        TRY(flush(s, e));
        TRY(write_all(s, bytes.p, bytes.n, e));
    } else {
        buf_add(&s->pending, bytes);
        ENSURE(buf_ok(&s->pending), e, ST_TEMP, "out of memory");
        if (s->pending.n >= WRITE_BYTES)
            TRY(flush(s, e));
    }
    s->size += bytes.n;
    return ST_OK;
}

enum st spool_append(struct spool *s, struct str bytes, struct err *e)
{
    if (bytes.n > s->size_max || s->size > s->size_max - bytes.n) {
        s->size = s->size > UINT64_MAX - bytes.n ? UINT64_MAX : s->size + bytes.n;
        return ERR_PUBLIC(e, ST_LIMIT, "the message is larger than %llu bytes", (unsigned long long)s->size_max);
    }
    if (s->fd < 0 && s->size + bytes.n > s->memory_max)
        TRY(move_to_file(s, e));
    if (s->fd >= 0)
        return append_to_file(s, bytes, e);
    TRY(grow_memory(s, (size_t)s->size + bytes.n, e));
    if (bytes.n)
        memcpy(s->memory + SPOOL_FRONT_MAX + s->size, bytes.p, bytes.n);
    s->size += bytes.n;
    return ST_OK;
}

/* Makes base() valid: memory is there, or the whole file is mapped. */
static enum st settle(struct spool *s, struct err *e)
{
    if (s->fd < 0)
        return grow_memory(s, (size_t)s->size, e);
    TRY(flush(s, e));
    if (s->mapped)
        return ST_OK;
    s->mapped_size = SPOOL_FRONT_MAX + (size_t)s->size;
    void *p = mmap(NULL, s->mapped_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, s->fd, 0);
    if (p == MAP_FAILED)
        return failed("mapping the spool", e);
    s->mapped = p;
    return ST_OK;
}

static char *base(struct spool *s) { return s->fd < 0 ? s->memory : s->mapped; }

enum st spool_prepend(struct spool *s, struct str bytes, struct err *e)
{
    ENSURE(bytes.n <= s->start, e, ST_LIMIT, "the trace fields are too long");
    TRY(settle(s, e));
    s->start -= bytes.n;
    if (bytes.n)
        memcpy(base(s) + s->start, bytes.p, bytes.n);
    return ST_OK;
}

enum st spool_skip(struct spool *s, size_t n, struct err *e)
{
    ENSURE(n <= SPOOL_FRONT_MAX + s->size - s->start, e, ST_BUG, "more skipped than there is");
    s->start += n;
    return ST_OK;
}

enum st spool_view(struct spool *s, struct str *whole, struct err *e)
{
    TRY(settle(s, e));
    *whole = str_make(base(s) + s->start, SPOOL_FRONT_MAX + (size_t)s->size - s->start);
    return ST_OK;
}
