/* CRC32C (RFC 3720 12.1) as RocksDB computes it, faster: see rocks_crc32c.c. Any thread. */
#ifndef KV_ROCKS_CRC32C_H
#define KV_ROCKS_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* rocksdb::crc32c::Extend(unsigned, const char *, size_t) in the C++ ABI. */
#define ROCKS_CRC32C_SYMBOL "_ZN7rocksdb6crc32c6ExtendEjPKcm"

/* The CRC of what `crc` is of, followed by p[0..n]; 0 is that of nothing. */
uint32_t rocks_crc32c_extend(uint32_t crc, const char *p, size_t n) __asm__(ROCKS_CRC32C_SYMBOL)
    __attribute__((visibility("default")));

/* Does it give what RFC 3720 B.4 says? A wrong one would write a database that nobody else can read. */
bool rocks_crc32c_is_right(void);

#endif
