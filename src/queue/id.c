#include "queue/id.h"

#include <stdio.h>

#include "base/bits.h"

/* Without i, l, o, u: read aloud and typed by people. */
static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

struct queue_id queue_id_next(unsigned shard, int64_t now_ms, atomic_uint *counter)
{
    struct queue_id id = {0};
    uint64_t ms = (uint64_t)now_ms;
    unsigned n = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
    be16_put(id.b, (uint16_t)shard);
    be16_put(id.b + 2, (uint16_t)(ms >> 32));
    be32_put(id.b + 4, (uint32_t)ms);
    id.b[8] = (uint8_t)(n >> 16);
    be16_put(id.b + 9, (uint16_t)n);
    return id;
}

struct queue_id queue_id_numbered(const struct queue_id *message, unsigned number)
{
    struct queue_id id = *message;
    be16_put(id.b + QUEUE_ID_MESSAGE, (uint16_t)number);
    return id;
}

unsigned queue_id_shard(const struct queue_id *id) { return be16_get(id->b); }

unsigned queue_id_number(const struct queue_id *id) { return be16_get(id->b + QUEUE_ID_MESSAGE); }

bool queue_id_equal(const struct queue_id *a, const struct queue_id *b) { return memcmp(a->b, b->b, QUEUE_ID_SIZE) == 0; }

int queue_id_cmp(const struct queue_id *a, const struct queue_id *b) { return memcmp(a->b, b->b, QUEUE_ID_SIZE); }

/* 88 bits in 18 characters of 5: two zero bits in front. */
void queue_id_print_message(const struct queue_id *id, char out[QUEUE_ID_TEXT_MESSAGE + 1])
{
    unsigned held = 0, bits = 2;
    size_t n = 0;
    for (size_t i = 0; i < QUEUE_ID_MESSAGE; i++) {
        held = (held << 8 | id->b[i]) & 0xffff;
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            out[n++] = alphabet[held >> bits & 31];
        }
    }
    out[n] = '\0';
}

void queue_id_print(const struct queue_id *id, char out[QUEUE_ID_TEXT_MAX])
{
    queue_id_print_message(id, out);
    snprintf(out + QUEUE_ID_TEXT_MESSAGE, QUEUE_ID_TEXT_MAX - QUEUE_ID_TEXT_MESSAGE, ".%u", queue_id_number(id));
}

static bool message_parse(struct str text, struct queue_id *out)
{
    unsigned held = 0, bits = 0;
    size_t n = 0;
    if (text.n != QUEUE_ID_TEXT_MESSAGE)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *at = memchr(alphabet, ascii_lower(text.p[i]), sizeof alphabet - 1);
        unsigned value = at ? (unsigned)(at - alphabet) : 32;
        if (value > 31 || (i == 0 && value > 7))
            return false;
        held = (held << 5 | value) & 0xffff;
        bits += i == 0 ? 3 : 5;
        if (bits >= 8) {
            bits -= 8;
            out->b[n++] = (uint8_t)(held >> bits);
        }
    }
    return n == QUEUE_ID_MESSAGE && bits == 0;
}

bool queue_id_parse(struct str text, struct queue_id *out, bool *whole)
{
    uint32_t number = 0;
    size_t dot = str_find_char(text, '.');
    *out = (struct queue_id){0};
    *whole = dot == STR_NPOS;
    if (!message_parse(str_upto(text, dot), out))
        return false;
    if (!*whole && (!str_to_u32(str_from(text, dot + 1), &number) || number > QUEUE_ENTRIES_MAX))
        return false;
    *out = queue_id_numbered(out, number);
    return true;
}
