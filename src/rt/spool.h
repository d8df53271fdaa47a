/* A message while it is being received: in memory up to a size, then in an unlinked file (which a crash leaves nothing of), in the
 * end one contiguous slice. Trace fields can be put in front without copying the body. One owner at a time. */
#ifndef RT_SPOOL_H
#define RT_SPOOL_H

#include "base/buf.h"
#include "base/err.h"

enum { SPOOL_FRONT_MAX = 16 << 10 /* bytes that can be put in front */ };

struct spool {
    const char *folder; /* borrowed; where the file is made */
    uint64_t size_max;  /* of the body */
    size_t memory_max;  /* before a file is made */
    uint64_t size;      /* bytes appended */
    char *memory;       /* SPOOL_FRONT_MAX bytes of room, then the body */
    size_t memory_size; /* allocated */
    int fd;             /* -1: no file yet. The file has the same layout */
    char *mapped;
    size_t mapped_size;
    struct buf pending; /* bytes not yet written to the file */
    size_t start;       /* where the message begins, from the start of the memory or file */
};

void spool_init(struct spool *s, const char *folder, uint64_t size_max, size_t memory_max);
void spool_release(struct spool *s); /* forgets everything; may be used again */

/* ST_LIMIT beyond size_max (nothing more is kept then, size goes on counting); ST_TEMP if the disk is full or memory runs out. */
enum st spool_append(struct spool *s, struct str bytes, struct err *e) MUST_USE;
/* Puts bytes in front of everything. ST_LIMIT beyond SPOOL_FRONT_MAX in total. After it no more spool_append. */
enum st spool_prepend(struct spool *s, struct str bytes, struct err *e) MUST_USE;
/* The whole as one slice, valid until the next change. */
enum st spool_view(struct spool *s, struct str *whole, struct err *e) MUST_USE;
/* Drops n bytes from the front of everything (a header that spool_prepend then replaces; it may be longer by SPOOL_FRONT_MAX). */
enum st spool_skip(struct spool *s, size_t n, struct err *e) MUST_USE;

#endif
