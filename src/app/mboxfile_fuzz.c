/* mbox files: whatever is read is printed and read again as the same. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/mailfile.h"
#include "base/check.h"

enum { MESSAGE_MAX = 1 << 20, MESSAGES_MAX = 1000 };

static struct mboxfile *open_bytes(struct str bytes, int *fd)
{
    char path[64];
    struct mboxfile *m = NULL;
    *fd = memfd_create("mbox", MFD_CLOEXEC);
    check(*fd >= 0 && write(*fd, bytes.p ? bytes.p : "", bytes.n) == (ssize_t)bytes.n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", *fd);
    check(mboxfile_open(path, MBOXFILE_RD, MESSAGE_MAX, &m, NULL) == ST_OK);
    return m;
}

/* Without the fields that carry flags a message is the same after printing and reading. */
static void again(const struct mailfile_message *m)
{
    struct buf text = BUF_INIT(MESSAGE_MAX * 4);
    struct mailfile_message got;
    int fd;
    mboxfile_print(m, &text);
    struct mboxfile *file = open_bytes(buf_str(&text), &fd);
    check(mboxfile_next(file, &got, NULL) != ST_TEMP);
    mboxfile_close(file);
    close(fd);
    buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd;
    struct mailfile_message m;
    struct mboxfile *file = open_bytes(str_make(data, size), &fd);
    for (unsigned i = 0; i < MESSAGES_MAX && mboxfile_next(file, &m, NULL) == ST_OK; i++) {
        check(m.bytes.n <= 2 * size + 2 && m.keyword_count <= MAILFILE_KEYWORDS_MAX);
        again(&m);
    }
    mboxfile_close(file);
    close(fd);
    return 0;
}
