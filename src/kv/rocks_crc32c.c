/* RocksDB guards each record of its log, each block and each blob with a CRC32C. Debian builds it for the oldest processor of the
 * architecture, where it goes by tables: 0.8 GB/s, a quarter of the time of reading mail and an eighth of relaying it. The library
 * calls its function through its linkage table, so that a definition in the program takes its place (ELF symbol preemption): this
 * one, by ISA-L, which picks the instructions of the processor at run time. The values are the same, and so are the files.
 * Measured in doc/design/engine.md. */
#include "kv/rocks_crc32c.h"

#include <isa-l/crc.h>
#include <limits.h>

uint32_t rocks_crc32c_extend(uint32_t crc, const char *p, size_t n)
{
    uint32_t state = ~crc;
    while (n > 0) {
        int piece = n < INT_MAX ? (int)n : INT_MAX;
        state = crc32_iscsi((unsigned char *)(uintptr_t)p, piece, state);
        p += piece;
        n -= (size_t)piece;
    }
    return ~state;
}

bool rocks_crc32c_is_right(void)
{
    char up[32];
    for (size_t i = 0; i < sizeof up; i++)
        up[i] = (char)i;
    return rocks_crc32c_extend(0, up, sizeof up) == 0x46dd794e;
}
