/* Keys and records of the rocksdb engine: doc/formats/rocksdb.md. Pure functions. */
#ifndef KV_ROCKS_KEY_H
#define KV_ROCKS_KEY_H

#include "base/bits.h"
#include "kv/engine.h"

enum {
    ROCKS_KEY_MAX = KV_PARTITION_NAME_MAX + 2 + KV_KEY_MAX + 1,
    ROCKS_CHUNK_BYTES =
        256 << 10, /* of the format: a shorter chunk 0 is a whole blob, so this cannot change without another family */
    ROCKS_INFO_BYTES = 28,

    /* ROCKS_META: name, NUL, kind, rest. The NUL sorts names bytewise, as no name has a byte below '-'. */
    ROCKS_KIND_VERSION = 1,
    ROCKS_KIND_BLOB = 2, /* rest: id of a blob that the partition links */
    ROCKS_KIND_KEY = 3,  /* rest: key */
    ROCKS_KIND_END = 4,

    /* ROCKS_INFO: id, kind, rest */
    ROCKS_KIND_FACTS = 0,  /* struct rocks_info */
    ROCKS_KIND_UPLOAD = 1, /* struct rocks_info of a blob whose chunks may be incomplete */
    ROCKS_KIND_LINK = 2,   /* rest: name of a partition that links it */
    ROCKS_KIND_LINK_END = 3,
};

struct rocks_key {
    size_t n;
    char p[ROCKS_KEY_MAX];
};
static inline struct str rocks_key_str(const struct rocks_key *k) { return (struct str){k->p, k->n}; }
static inline void rocks_key_add(struct rocks_key *k, struct str s)
{
    if (s.n)
        memcpy(k->p + k->n, s.p, s.n);
    k->n += s.n;
}

/* ROCKS_DEFAULT: what is not of a partition or blob. */
static inline struct rocks_key rocks_key_default(struct str prefix, struct str name)
{
    struct rocks_key k;
    k.n = 0;
    rocks_key_add(&k, prefix);
    rocks_key_add(&k, name);
    return k;
}

static inline struct rocks_key rocks_key_meta(struct str partition, char kind, struct str rest)
{
    struct rocks_key k;
    k.n = 0;
    rocks_key_add(&k, partition);
    k.p[k.n++] = '\0';
    k.p[k.n++] = kind;
    rocks_key_add(&k, rest);
    return k;
}

static inline struct rocks_key rocks_key_info(struct str id, char kind, struct str rest)
{
    struct rocks_key k;
    k.n = 0;
    rocks_key_add(&k, id);
    k.p[k.n++] = kind;
    rocks_key_add(&k, rest);
    return k;
}

static inline struct rocks_key rocks_key_chunk(struct str id, uint32_t number)
{
    struct rocks_key k;
    k.n = 0;
    rocks_key_add(&k, id);
    be32_put(k.p + k.n, number);
    k.n += 4;
    return k;
}

/* Takes a META key apart; false if it is not one. */
static inline bool rocks_key_meta_parse(struct str key, struct str *partition, char *kind, struct str *rest)
{
    size_t nul = str_find_char(str_upto(key, KV_PARTITION_NAME_MAX + 1), '\0');
    if (nul == STR_NPOS || nul + 2 > key.n)
        return false;
    *partition = str_upto(key, nul);
    *kind = key.p[nul + 1];
    *rest = str_from(key, nul + 2);
    return true;
}

struct rocks_info {
    uint64_t size;
    uint32_t chunk_bytes; /* of every chunk but the last */
    int64_t written_ms;   /* last stored */
    int64_t touched_ms;   /* last stored or unlinked: what the grace period counts from */
};

static inline void rocks_info_encode(const struct rocks_info *i, char out[ROCKS_INFO_BYTES])
{
    le64_put(out, i->size);
    le32_put(out + 8, i->chunk_bytes);
    le64_put(out + 12, (uint64_t)i->written_ms);
    le64_put(out + 20, (uint64_t)i->touched_ms);
}

static inline bool rocks_info_decode(struct str s, struct rocks_info *out)
{
    if (s.n < ROCKS_INFO_BYTES) /* later formats may append */
        return false;
    *out = (struct rocks_info){le64_get(s.p), le32_get(s.p + 8), (int64_t)le64_get(s.p + 12), (int64_t)le64_get(s.p + 20)};
    return out->chunk_bytes > 0 && out->size <= KV_BLOB_MAX;
}

static inline uint32_t rocks_info_chunks(const struct rocks_info *i)
{
    return (uint32_t)((i->size + i->chunk_bytes - 1) / i->chunk_bytes);
}

#endif
