#include "dns/rdata.h"

#include "base/rd.h"

enum { LABELS_MAX = 128 };

/* Host names have letters, digits, '-', '_'; anything else printable but '.' passes, so that odd names can be looked at. */
static bool label_ok(struct str label)
{
    for (size_t i = 0; i < label.n; i++) {
        unsigned char c = (unsigned char)label.p[i];
        if (c <= ' ' || c >= 127 || c == '.' || c == '\\')
            return false;
    }
    return true;
}

static bool take_name(struct rd *in, struct buf *out)
{
    for (unsigned n = 0; n < LABELS_MAX; n++) {
        size_t length = rd_u8(in);
        if (!rd_ok(in) || length > 63)
            return false;
        if (length == 0)
            return buf_ok(out);
        struct str label = rd_bytes(in, length);
        if (!rd_ok(in) || !label_ok(label))
            return false;
        if (n > 0)
            buf_add_c(out, '.');
        for (size_t i = 0; i < label.n; i++)
            buf_add_c(out, ascii_lower(label.p[i]));
    }
    return false;
}

bool rdata_name(struct str wire, struct buf *out)
{
    struct rd in = rd_of(wire);
    return take_name(&in, out) && rd_end(&in);
}

static bool name_into(struct rd *in, struct arena *arena, struct str *out)
{
    char space[RESOLVER_NAME_MAX];
    struct buf name = {space, 0, sizeof space, sizeof space, false};
    if (!take_name(in, &name) || !rd_end(in))
        return false;
    *out = arena_str(arena, buf_str(&name));
    return out->p != NULL;
}

static bool txt_into(struct rd *in, struct arena *arena, struct str *out)
{
    char *to = arena_get(arena, rd_left(in) + 1);
    size_t n = 0;
    while (to && !rd_end(in)) {
        struct str piece = rd_bytes(in, rd_u8(in));
        if (!rd_ok(in))
            return false;
        memcpy(to + n, piece.p, piece.n);
        n += piece.n;
    }
    *out = str_make(to, n);
    return to && rd_ok(in);
}

static bool tlsa_into(struct rd *in, struct arena *arena, struct resolver_record *out)
{
    out->usage = rd_u8(in);
    out->selector = rd_u8(in);
    out->matching = rd_u8(in);
    out->data = arena_str(arena, rd_rest(in));
    return rd_ok(in) && out->data.p && out->data.n > 0;
}

static bool address_into(struct rd *in, size_t size, struct resolver_record *out)
{
    struct str bytes = rd_bytes(in, size);
    if (!rd_ok(in) || !rd_end(in))
        return false;
    memcpy(out->address, bytes.p, size);
    return true;
}

bool rdata_decode(enum resolver_type type, struct str data, struct arena *arena, struct resolver_record *out)
{
    struct rd in = rd_of(data);
    *out = (struct resolver_record){0};
    switch (type) {
    case RESOLVER_A:
        return address_into(&in, 4, out);
    case RESOLVER_AAAA:
        return address_into(&in, 16, out);
    case RESOLVER_MX: {
        unsigned high = rd_u8(&in), low = rd_u8(&in);
        out->preference = (uint16_t)(high << 8 | low);
        return rd_ok(&in) && name_into(&in, arena, &out->name);
    }
    case RESOLVER_TXT:
        return txt_into(&in, arena, &out->data);
    case RESOLVER_TLSA:
        return tlsa_into(&in, arena, out);
    case RESOLVER_PTR:
        return name_into(&in, arena, &out->name);
    }
    return false;
}
