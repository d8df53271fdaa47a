#include "net/proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/rd.h"

enum { NETWORKS_MAX = 256, V1_MAX = 107, V2_FIXED = 16 };

struct network {
    unsigned char address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;
};
struct proxy_networks {
    size_t count;
    struct network list[NETWORKS_MAX];
};

static bool read_address(struct str text, unsigned char out[16], bool *is_v4)
{
    char z[64];
    struct in_addr v4;
    if (text.n >= sizeof z)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    *is_v4 = inet_pton(AF_INET, z, &v4) == 1;
    if (!*is_v4)
        return inet_pton(AF_INET6, z, out) == 1;
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, &v4, 4);
    return true;
}

static bool read_network(struct str text, struct network *out)
{
    size_t slash = str_find_char(text, '/');
    bool v4;
    uint32_t bits;
    if (!read_address(str_upto(text, slash), out->address, &v4))
        return false;
    unsigned whole = v4 ? 32 : 128;
    if (slash == STR_NPOS)
        bits = whole;
    else if (!str_to_u32(str_from(text, slash + 1), &bits) || bits > whole)
        return false;
    out->bits = bits + (v4 ? 96 : 0);
    return true;
}

enum st proxy_networks_parse(struct str text, struct proxy_networks **out, struct err *e)
{
    struct proxy_networks *n = calloc(1, sizeof *n);
    ENSURE(n, e, ST_TEMP, "out of memory");
    struct str part;
    while (str_split(&text, ',', &part)) {
        part = str_trim(part);
        if (part.n == 0)
            continue;
        if (n->count == NETWORKS_MAX || !read_network(part, &n->list[n->count])) {
            free(n);
            return ERR_PUBLIC(e, ST_PERM, "%.*s: expected a network such as 10.0.0.0/8 or 2001:db8::/32, at most %d of them",
                              STR_FMT(part), NETWORKS_MAX);
        }
        n->count++;
    }
    *out = n;
    return ST_OK;
}

void proxy_networks_free(struct proxy_networks *n) { free(n); }

static bool same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned rest = bits % 8;
    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0;
}

bool proxy_networks_have(const struct proxy_networks *n, const char *address)
{
    unsigned char bytes[16];
    bool v4;
    if (!n || n->count == 0 || !read_address(str_of(address), bytes, &v4))
        return false;
    for (size_t i = 0; i < n->count; i++)
        if (same_bits(bytes, n->list[i].address, n->list[i].bits))
            return true;
    return false;
}

/* As text; an IPv4 address in IPv6 clothes (::ffff:192.0.2.1) without them, so that limits and lists see the same client. */
static void print_address(const unsigned char bytes[16], char out[64])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    bool v4 = memcmp(bytes, mapped, sizeof mapped) == 0;
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? bytes + 12 : bytes, out, 64);
}

static bool read_side(struct str address, struct str port, bool want_v4, unsigned char bytes[16], uint32_t *number)
{
    bool v4;
    return read_address(address, bytes, &v4) && v4 == want_v4 && str_to_u32(port, number) && *number <= 65535;
}

/* "PROXY TCP4 192.0.2.1 198.51.100.7 56324 25\r\n" */
static enum proxy_result parse_v1(struct str in, size_t *used, struct proxy_source *source)
{
    size_t end = str_find(str_upto(in, V1_MAX), STR("\r\n")), count = 0;
    if (end == STR_NPOS)
        return in.n >= V1_MAX ? PROXY_BAD : PROXY_MORE;
    struct str rest = str_upto(in, end), part, word[6] = {{0}};
    for (; count <= 6 && str_split(&rest, ' ', &part); count++)
        if (count < 6)
            word[count] = part;
    *used = end + 2;
    source->local = str_eq(word[1], STR("UNKNOWN")); /* whatever follows means nothing */
    if (source->local)
        return PROXY_DONE;
    bool v4 = str_eq(word[1], STR("TCP4"));
    unsigned char client[16], ours[16];
    uint32_t port, our_port;
    if ((!v4 && !str_eq(word[1], STR("TCP6"))) || count != 6 || !read_side(word[2], word[4], v4, client, &port) ||
        !read_side(word[3], word[5], v4, ours, &our_port))
        return PROXY_BAD;
    print_address(client, source->address);
    source->port = (uint16_t)port;
    return PROXY_DONE;
}

static enum proxy_result parse_v2(struct str in, size_t *used, struct proxy_source *source)
{
    if (in.n < V2_FIXED)
        return PROXY_MORE;
    unsigned command = (unsigned char)in.p[12], family = (unsigned char)in.p[13];
    size_t length = (size_t)(unsigned char)in.p[14] << 8 | (unsigned char)in.p[15];
    if (command >> 4 != 2 || (command & 15) > 1 || length > PROXY_HEADER_MAX - V2_FIXED)
        return PROXY_BAD;
    if (in.n < V2_FIXED + length)
        return PROXY_MORE;
    *used = V2_FIXED + length;
    const char *p = in.p + V2_FIXED;
    source->local = (command & 15) == 0;
    if (source->local)
        return PROXY_DONE;
    if (family == 0x11 && length >= 12) {
        inet_ntop(AF_INET, p, source->address, sizeof source->address);
        source->port = (uint16_t)((unsigned char)p[8] << 8 | (unsigned char)p[9]);
    } else if (family == 0x21 && length >= 36) {
        print_address((const unsigned char *)p, source->address);
        source->port = (uint16_t)((unsigned char)p[32] << 8 | (unsigned char)p[33]);
    } else {
        source->local = true;
    }
    return PROXY_DONE;
}

enum proxy_result proxy_parse(struct str in, size_t *used, struct proxy_source *source)
{
    static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
    struct str v1 = STR("PROXY "), v2 = str_make(signature, 12);
    *source = (struct proxy_source){0};
    *used = 0;
    if (str_starts(in, v1))
        return parse_v1(in, used, source);
    if (str_starts(in, v2))
        return parse_v2(in, used, source);
    return str_starts(v1, in) || str_starts(v2, in) ? PROXY_MORE : PROXY_BAD;
}
