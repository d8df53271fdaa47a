/* The program. */
#include "app/command.h"
#include "base/str.h"
#include "rt/random.h"

int main(int argc, char **argv)
{
    uint8_t key[16];
    random_bytes(key, sizeof key);
    str_hash_key(key);
    return command_main(argc, argv);
}
