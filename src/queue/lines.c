#include "queue/lines.h"

#include <stddef.h>

#include "net/connect.h"

void lines_init(struct lines *l)
{
    pthread_mutex_init(&l->lock, NULL);
    l->first = NULL;
}

void lines_release(struct lines *l) { pthread_mutex_destroy(&l->lock); }

void lines_add(struct lines *l, struct line *line, struct stream *stream)
{
    pthread_mutex_lock(&l->lock);
    *line = (struct line){l->first, &l->first, stream};
    if (l->first)
        l->first->prev = &line->next;
    l->first = line;
    pthread_mutex_unlock(&l->lock);
}

void lines_remove(struct lines *l, struct line *line)
{
    pthread_mutex_lock(&l->lock);
    *line->prev = line->next;
    if (line->next)
        line->next->prev = line->prev;
    pthread_mutex_unlock(&l->lock);
}

void lines_break(struct lines *l)
{
    pthread_mutex_lock(&l->lock);
    for (struct line *line = l->first; line; line = line->next)
        stream_break(line->stream);
    pthread_mutex_unlock(&l->lock);
}
