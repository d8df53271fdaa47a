/* The open connections to other hosts, so that a stop can break them. Threads: any. */
#ifndef QUEUE_LINES_H
#define QUEUE_LINES_H

#include <pthread.h>

struct stream;

struct line {
    struct line *next, **prev;
    struct stream *stream;
};
struct lines {
    pthread_mutex_t lock;
    struct line *first;
};

void lines_init(struct lines *l);
void lines_release(struct lines *l);
void lines_add(struct lines *l, struct line *line, struct stream *stream);
void lines_remove(struct lines *l, struct line *line); /* before the stream is closed */
void lines_break(struct lines *l);                     /* every stream fails from now on */

#endif
