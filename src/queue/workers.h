/* The queue's threads: one loader and a pool that delivers, one thread for each open connection. */
#ifndef QUEUE_WORKERS_H
#define QUEUE_WORKERS_H

#include "base/err.h"

struct queue;
struct workers;

enum st workers_start(struct queue *q, struct workers **out, struct err *e) MUST_USE;
/* Waits up to wait_ms for attempts under way, then breaks them (queue.breaking); joins and frees. */
void workers_stop(struct workers *w, unsigned wait_ms);

#endif
