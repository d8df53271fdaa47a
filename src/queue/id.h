/* Names of queued messages and entries. A message is named by its shard, the time it came in, and a counter of the process; an
 * entry by its message and a number. Bytewise order is order of arrival within a shard. Pure functions but for queue_id_next. */
#ifndef QUEUE_ID_H
#define QUEUE_ID_H

#include <stdatomic.h>

#include "base/str.h"

enum {
    QUEUE_ID_MESSAGE = 11,      /* bytes: be16 shard, be48 wall clock ms, be24 counter */
    QUEUE_ID_SIZE = 13,         /* and be16 number of the entry */
    QUEUE_ID_TEXT_MESSAGE = 18, /* characters: base 32 of the message part */
    QUEUE_ID_TEXT_MAX = 32,
    QUEUE_ENTRIES_MAX = 65535, /* of one message */
};

struct queue_id {
    uint8_t b[QUEUE_ID_SIZE];
};

/* A new message in a shard; number 0. counter: begins anywhere, one for a process. */
struct queue_id queue_id_next(unsigned shard, int64_t now_ms, atomic_uint *counter);
struct queue_id queue_id_numbered(const struct queue_id *message, unsigned number);
unsigned queue_id_shard(const struct queue_id *id);
unsigned queue_id_number(const struct queue_id *id);
bool queue_id_equal(const struct queue_id *a, const struct queue_id *b);
int queue_id_cmp(const struct queue_id *a, const struct queue_id *b);

void queue_id_print_message(const struct queue_id *id, char out[QUEUE_ID_TEXT_MESSAGE + 1]);
void queue_id_print(const struct queue_id *id, char out[QUEUE_ID_TEXT_MAX]); /* "<message>.<number>" */
/* *whole: only the message was named. False: neither. */
bool queue_id_parse(struct str text, struct queue_id *out, bool *whole);

#endif
