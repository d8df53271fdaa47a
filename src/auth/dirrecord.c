#include "auth/dirrecord.h"

#include <stdio.h>

#include "base/rd.h"

struct dirrecord_partition dirrecord_partition_number(unsigned n)
{
    struct dirrecord_partition p;
    snprintf(p.name, sizeof p.name, "dir-%02x", n & 0xff);
    return p;
}

struct dirrecord_partition dirrecord_partition_of(struct str hashed)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a, 64 bits: stable over processes and releases, unlike str_hash */
    for (size_t i = 0; i < hashed.n; i++) {
        h ^= (unsigned char)hashed.p[i];
        h *= 0x100000001b3u;
    }
    h ^= h >> 32;
    h ^= h >> 16;
    h ^= h >> 8;
    return dirrecord_partition_number((unsigned)(h & 0xff));
}

void dirrecord_key(enum dirrecord_kind kind, struct str rest, struct buf *out)
{
    buf_add_c(out, (char)kind);
    buf_add(out, rest);
}

void dirrecord_key_id(account_id id, struct buf *out) { buf_add_be64(out, id); }

void dirrecord_key_name(struct str local, struct str domain, struct buf *out)
{
    buf_add_c(out, DIRRECORD_NAME);
    buf_add(out, local);
    buf_add_c(out, '\0');
    buf_add(out, domain);
}

static void add_text(struct buf *out, struct str s)
{
    buf_add_varint(out, s.n);
    buf_add(out, s);
}

static enum st open_record(struct str value, struct rd *r, struct err *e)
{
    *r = rd_of(value);
    unsigned version = rd_u8(r);
    if (!rd_ok(r))
        return ERR(e, ST_CORRUPT, "the directory is damaged", "empty directory record");
    if (version != DIRRECORD_VERSION)
        return ERR(e, ST_PERM, "the directory was written by a newer version", "directory record of version %u", version);
    return ST_OK;
}

static enum st close_record(const struct rd *r, const char *what, struct err *e)
{
    if (!rd_ok(r))
        return ERR(e, ST_CORRUPT, "the directory is damaged", "%s record does not decode", what);
    return ST_OK; /* bytes behind the known fields are fields of a later minor version */
}

enum { FLAG_PENDING = 1 };

void dirrecord_account_encode(const struct dirrecord_account *r, struct buf *out)
{
    const struct directory_account *a = &r->account;
    buf_add_c(out, DIRRECORD_VERSION);
    buf_add_varint(out, r->pending ? FLAG_PENDING : 0);
    buf_add_le64(out, a->id);
    buf_add_varint(out, (uint64_t)a->state);
    buf_add_le64(out, (uint64_t)a->created_ms);
    buf_add_le64(out, a->quota_bytes);
    buf_add_le64(out, a->quota_messages);
    add_text(out, a->address);
    add_text(out, a->name);
    add_text(out, a->password);
    add_text(out, a->identities);
}

enum st dirrecord_account_decode(struct str value, struct dirrecord_account *out, struct err *e)
{
    struct rd r;
    TRY(open_record(value, &r, e));
    *out = (struct dirrecord_account){0};
    struct directory_account *a = &out->account;
    out->pending = rd_varint(&r) & FLAG_PENDING;
    a->id = rd_le64(&r);
    uint64_t state = rd_varint(&r);
    a->created_ms = (int64_t)rd_le64(&r);
    a->quota_bytes = rd_le64(&r);
    a->quota_messages = rd_le64(&r);
    a->address = rd_varstr(&r);
    a->name = rd_varstr(&r);
    a->password = rd_varstr(&r);
    a->identities = rd_varstr(&r);
    if (state > DIRECTORY_CLOSED || a->id == 0 || str_empty(a->address))
        rd_fail(&r);
    a->state = state > DIRECTORY_CLOSED ? DIRECTORY_CLOSED : (enum directory_state)state;
    return close_record(&r, "account", e);
}

void dirrecord_alias_encode(struct str address, struct str targets, struct buf *out)
{
    buf_add_c(out, DIRRECORD_VERSION);
    add_text(out, address);
    add_text(out, targets);
}

enum st dirrecord_alias_decode(struct str value, struct directory_alias *out, struct err *e)
{
    struct rd r;
    TRY(open_record(value, &r, e));
    out->address = rd_varstr(&r);
    out->targets = rd_varstr(&r);
    return close_record(&r, "alias", e);
}

void dirrecord_domain_encode(const struct directory_domain *d, struct buf *out)
{
    buf_add_c(out, DIRRECORD_VERSION);
    add_text(out, d->name);
    add_text(out, d->catch_all);
    add_text(out, d->alias_of);
}

enum st dirrecord_domain_decode(struct str value, struct directory_domain *out, struct err *e)
{
    struct rd r;
    TRY(open_record(value, &r, e));
    *out = (struct directory_domain){0};
    out->name = rd_varstr(&r);
    out->catch_all = rd_varstr(&r);
    out->alias_of = rd_varstr(&r);
    return close_record(&r, "domain", e);
}
