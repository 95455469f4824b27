/* The pages in docs/reference/ say what the tables in the code say. */
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "cli/cli.h"

static const char *read_file(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(out, 1, size - 1, file) : 0;
    if (file)
        fclose(file);
    out[len] = '\0';
    return out;
}

TEST(the_reference_pages_are_what_the_code_says)
{
    static char page[2][1 << 20];
    static const char *const names[] = {"configuration.md", "command-line.md", "admin-api.md",
                                        "faults.md"};
    char dir[] = "/tmp/mg_docs_XXXXXX", docs[] = "docs", path[256];
    char *words[] = {docs, dir, NULL};
    CHECK(mkdtemp(dir) != NULL);

    CHECK_INT(mg_cli_docs(2, words), MG_EXIT_OK);

    for (size_t i = 0; i < MG_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        const char *made = read_file(path, page[0], sizeof(page[0]));
        unlink(path);
        snprintf(path, sizeof(path), "docs/reference/%s", names[i]);
        if (strcmp(made, read_file(path, page[1], sizeof(page[1]))) != 0 || !*made)
            check_failed(__FILE__, __LINE__, "%s is out of date: run ./dev docs", path);
    }
    rmdir(dir);
}

MG_TEST_MAIN()
