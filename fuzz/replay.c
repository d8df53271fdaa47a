/* Replays a fuzz corpus without libFuzzer: every file below the folders (and every file) given as arguments goes once through
 * LLVMFuzzerTestOneInput. A folder that is missing or empty fails the run: a corpus that nobody reads protects nothing. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH_MAX = 4, FILE_MAX = 64 << 20 };

static int replay_file(const char *path, size_t *count)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        return -1;
    }
    struct stat sb;
    uint8_t *data = NULL;
    int result = -1;
    if (fstat(fileno(f), &sb) != 0 || sb.st_size > FILE_MAX) {
        fprintf(stderr, "replay: %s: not readable or over %d bytes\n", path, FILE_MAX);
        goto out;
    }
    size_t size = (size_t)sb.st_size;
    data = malloc(size ? size : 1); /* exactly the size: a sanitizer sees the first byte behind it */
    if (!data || fread(data, 1, size, f) != size) {
        fprintf(stderr, "replay: %s: cannot read %zu bytes\n", path, size);
        goto out;
    }
    result = LLVMFuzzerTestOneInput(data, size);
    if (result != 0)
        fprintf(stderr, "replay: %s: returned %d\n", path, result);
    ++*count;
out:
    free(data);
    fclose(f);
    return result;
}

static int replay(const char *path, int depth, size_t *count);

static int replay_folder(const char *path, int depth, size_t *count)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    if (n < 0) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        return -1;
    }
    size_t before = *count;
    int result = 0;
    for (int i = 0; i < n; i++) {
        char *child = NULL;
        if (names[i]->d_name[0] != '.' &&
            (asprintf(&child, "%s/%s", path, names[i]->d_name) < 0 || replay(child, depth + 1, count)))
            result = -1;
        free(child);
        free(names[i]);
    }
    free(names);
    if (result == 0 && *count == before) {
        fprintf(stderr, "replay: %s: empty\n", path);
        return -1;
    }
    return result;
}

static int replay(const char *path, int depth, size_t *count)
{
    struct stat sb;
    if (depth > DEPTH_MAX || stat(path, &sb) != 0) {
        fprintf(stderr, "replay: %s: %s\n", path, depth > DEPTH_MAX ? "nested too deeply" : strerror(errno));
        return -1;
    }
    return S_ISDIR(sb.st_mode) ? replay_folder(path, depth, count) : replay_file(path, count);
}

int main(int argc, char **argv)
{
    size_t count = 0;
    int result = 0;
    for (int i = 1; i < argc; i++)
        if (replay(argv[i], 0, &count) != 0)
            result = 1;
    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS...\n", argv[0]);
        return 2;
    }
    printf("replayed %zu inputs\n", count);
    return result;
}
