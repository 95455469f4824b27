/* driver.c - runs a fuzz target over files instead of libFuzzer: every one whole, and cut short at
 * some places.
 *
 * usage: fuzz.<name> FILE|FOLDER...   A folder that does not exist counts as empty. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CUTS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t runs;

static int run_path(const char *path);
static int run_folder(const char *path);
static int run_file(const char *path, size_t size);
static void run(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    run(NULL, 0);
    for (int i = 1; i < argc; i++)
        if (run_path(argv[i]) != 0)
            return 1;
    printf("%zu inputs\n", runs);
    return 0;
}

static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        if (errno == ENOENT)
            return 0;
        perror(path);
        return -1;
    }
    return S_ISDIR(st.st_mode) ? run_folder(path) : run_file(path, (size_t)st.st_size);
}

static int run_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        perror(path);
        return -1;
    }

    int failed = 0;
    for (struct dirent *entry = readdir(dir); entry && !failed; entry = readdir(dir)) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        failed = run_path(name);
    }
    closedir(dir);
    return failed;
}

static int run_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rbe");
    uint8_t *data = malloc(size + 1);
    if (!file || !data || fread(data, 1, size, file) != size) {
        perror(path);
        exit(1);
    }
    fclose(file);

    size_t step = size / CUTS + 1;
    for (size_t cut = 0; cut < size; cut += step)
        run(data, cut);
    run(data, size);
    free(data);
    return 0;
}

/* The target gets a block of exactly this size, so that the sanitizer sees a read past the end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        exit(1);
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}
