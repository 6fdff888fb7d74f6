/*
 * A main program for a fuzz target without libFuzzer: feeds it every kept input, and says so as
 * TAP.
 *
 *     fuzz/corpus/<name>/       inputs that reach different places
 *     fuzz/regression/<name>/   inputs that once made it fail
 *
 * <name> is the program's own without "fuzz_". The empty input always runs. A target fails by
 * crashing.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int feed_folder(const char *folder, const char *name, int number);
static int feed_file(const char *path);

int main(int argc, char **argv)
{
    (void)argc;
    const char *slash = strrchr(argv[0], '/');
    const char *name = slash == NULL ? argv[0] : slash + 1;
    name = strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name;

    static const uint8_t NOTHING[1];
    LLVMFuzzerTestOneInput(NOTHING, 0);
    printf("ok 1 - %s takes the empty input\n", name);
    int number = feed_folder("fuzz/corpus", name, 1);
    number = feed_folder("fuzz/regression", name, number);
    printf("1..%d\n", number);
    return 0;
}

/* Feeds each file of folder/name; returns the number of the last test. */
static int feed_folder(const char *folder, const char *name, int number)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return number;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s/%s", folder, name, entry->d_name);
        printf("# %s\n", path);
        int failed = feed_file(path);
        number++;
        printf("%sok %d - %s\n", failed ? "not " : "", number, path);
    }
    closedir(dir);
    return number;
}

/* Non-zero when the file could not be read. The bytes lie in memory of just their size, so that
 * ASAN sees each step beyond. */
static int feed_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (fseek(file, 0, SEEK_SET) != 0) {
        size = -1;
    }
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    int failed = size < 0 || data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size;
    if (!failed) {
        LLVMFuzzerTestOneInput(data, (size_t)size);
    }
    free(data);
    fclose(file);
    return failed;
}
