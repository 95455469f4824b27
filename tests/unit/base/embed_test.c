#include "base/embed.h"

#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file);
    fputs(text, file);
    fclose(file);
}

TEST(finds_every_file_of_its_table_by_name)
{
    unsetenv("MOONGATE_LUA_DIR");

    for (size_t i = 0; i < mg_embedded_count; i++) {
        const struct mg_embedded_file *file = &mg_embedded_files[i];
        CHECK(mg_embedded_find(file->name) == file);
        CHECK(file->data[file->size] == '\0');
    }
    CHECK(!mg_embedded_find("no/such/file.lua"));
}

TEST(reads_files_from_disk_when_told_to)
{
    char root[] = "/tmp/moongate-embed-XXXXXX", lua[64], module[80], plugins[64], plugin[80];
    CHECK(mkdtemp(root));
    snprintf(lua, sizeof lua, "%s/lua", root);
    snprintf(module, sizeof module, "%s/new.lua", lua);
    snprintf(plugins, sizeof plugins, "%s/plugins", root);
    snprintf(plugin, sizeof plugin, "%s/plugin.json", plugins);
    CHECK(mkdir(lua, 0700) == 0 && mkdir(plugins, 0700) == 0);
    write_file(module, "return 1");
    write_file(plugin, "{}");
    setenv("MOONGATE_LUA_DIR", lua, 1);

    const struct mg_embedded_file *first = mg_embedded_find("new.lua");
    const struct mg_embedded_file *again = mg_embedded_find("new.lua");
    write_file(module, "return 22");
    const struct mg_embedded_file *edited = mg_embedded_find("new.lua");
    const struct mg_embedded_file *beside = mg_embedded_find("plugins/plugin.json");

    CHECK(first && strcmp(first->data, "return 1") == 0 && first->size == 8);
    CHECK(again == first);
    CHECK(edited && strcmp(edited->data, "return 22") == 0);
    CHECK(beside && strcmp(beside->data, "{}") == 0);

    unsetenv("MOONGATE_LUA_DIR");
    unlink(module);
    unlink(plugin);
    rmdir(lua);
    rmdir(plugins);
    rmdir(root);
}

TEST(falls_back_to_the_binary_for_what_the_disk_lacks)
{
    setenv("MOONGATE_LUA_DIR", "/nonexistent", 1);

    for (size_t i = 0; i < mg_embedded_count; i++)
        CHECK(mg_embedded_find(mg_embedded_files[i].name) == &mg_embedded_files[i]);

    unsetenv("MOONGATE_LUA_DIR");
}

static void count_name(void *arg, const char *name)
{
    *(int *)arg += strcmp(name, "adapters/openai.lua") == 0 ? 100 : strcmp(name, "adapters/mine.lua") == 0;
}

TEST(a_folder_stands_in_front_of_one_kind_of_file)
{
    char root[] = "/tmp/moongate-embed-XXXXXX", mine[64], theirs[64];
    unsetenv("MOONGATE_LUA_DIR");
    CHECK(mkdtemp(root));
    snprintf(mine, sizeof mine, "%s/mine.lua", root);
    snprintf(theirs, sizeof theirs, "%s/openai.lua", root);
    write_file(mine, "return 1");
    write_file(theirs, "return 2");
    mg_embedded_folder("adapters/", root);

    const struct mg_embedded_file *own = mg_embedded_find("adapters/mine.lua"), *over = mg_embedded_find("adapters/openai.lua");
    CHECK(own && strcmp(own->data, "return 1") == 0);
    CHECK(over && strcmp(over->data, "return 2") == 0);
    CHECK(mg_embedded_find("adapters/anthropic.lua") && !mg_embedded_find("mine.lua") && !mg_embedded_find("dialects/mine.lua"));
    CHECK(!mg_embedded_find("adapters/../mine.lua"));

    int seen = 0;
    mg_embedded_each("adapters/", count_name, &seen);
    CHECK_INT(seen, 101);              /* once each, whoever has it */
    seen = 0;
    mg_embedded_each("dialects/", count_name, &seen);
    CHECK_INT(seen, 0);

    mg_embedded_folder("adapters/", NULL);
    CHECK(!mg_embedded_find("adapters/mine.lua"));
    CHECK(strcmp(mg_embedded_find("adapters/openai.lua")->data, "return 2") != 0);
    unlink(mine);
    unlink(theirs);
    rmdir(root);
}

MG_TEST_MAIN()
