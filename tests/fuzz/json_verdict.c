/* json_verdict.c - prints "valid PATH" or "invalid PATH" for every file of some folders, in order of names: our
 * scanner's opinion, for json_oracle_test.py to compare with an independent one. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "http/json_scan.h"

static void judge_file(const char *path)
{
    struct stat st;
    FILE *file = fopen(path, "rbe");
    if (!file || fstat(fileno(file), &st) != 0) {
        perror(path);
        exit(1);
    }
    size_t size = (size_t)st.st_size;
    char *bytes = malloc(size ? size : 1);
    if (!bytes || fread(bytes, 1, size, file) != size) {
        perror(path);
        exit(1);
    }
    fclose(file);
    printf("%s %s\n", mg_json_scan(mg_view_of(bytes, size), NULL, NULL, NULL, NULL) == MG_OK ? "valid" : "invalid", path);
    free(bytes);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct dirent **entries;
        int count = scandir(argv[i], &entries, NULL, alphasort);
        if (count < 0) {
            perror(argv[i]);
            return 1;
        }
        for (int e = 0; e < count; e++) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s", argv[i], entries[e]->d_name);
            if (entries[e]->d_name[0] != '.')
                judge_file(path);
            free(entries[e]);
        }
        free(entries);
    }
    return 0;
}
