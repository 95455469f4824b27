#include "store/folder.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "folder.h"

TEST(a_data_folder_is_private_and_its_parents_are_made)
{
    char data[200], journal[220];
    struct stat stat_;
    snprintf(data, sizeof data, "%s/deeper/data//", check_fresh_path("parent"));
    snprintf(journal, sizeof journal, "%s/journal", data);

    CHECK_OK(mg_folder_create(data, NULL));
    CHECK_OK(mg_folder_create(data, NULL));

    CHECK_INT(stat(data, &stat_), 0);
    CHECK_INT(stat_.st_mode & 0777, 0700);
    CHECK_INT(stat(journal, &stat_), 0);
    CHECK_INT(stat_.st_mode & 0777, 0700);
}

TEST(a_folder_that_cannot_be_made_is_named)
{
    struct mg_diag diag;
    CHECK_INT(mg_folder_create("/dev/null/data", &diag), MG_E_SYSTEM);
    CHECK(strstr(diag.file, "/dev/null") != NULL);
}

TEST(one_process_holds_the_lock_and_a_dead_one_holds_none)
{
    const char *data = check_fresh_path("data");
    struct mg_diag diag;
    int lock, second, ready[2];
    char byte;
    CHECK_OK(mg_folder_create(data, NULL));
    CHECK_INT(pipe(ready), 0);

    pid_t child = fork();
    if (child == 0) {
        if (mg_folder_lock(data, &lock, NULL) != MG_OK || write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    CHECK_INT(read(ready[0], &byte, 1), 1);
    CHECK_INT(mg_folder_lock(data, &lock, &diag), MG_E_BUSY);
    CHECK_INT(lock, -1);
    CHECK_STR(diag.text, "another gateway runs with this data folder");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);

    CHECK_OK(mg_folder_lock(data, &lock, NULL));
    CHECK_INT(mg_folder_lock(data, &second, NULL), MG_E_BUSY);
    mg_folder_unlock(lock);
    CHECK_OK(mg_folder_lock(data, &lock, NULL));
    mg_folder_unlock(lock);
}

TEST(there_is_no_lock_without_a_folder)
{
    int lock;
    CHECK_INT(mg_folder_lock(check_fresh_path("none"), &lock, NULL), MG_E_NOT_FOUND);
}

TEST(the_default_folder_follows_the_environment)
{
    char path[MG_FOLDER_PATH_BYTES];
    setenv("HOME", "/nowhere/someone", 1);
    unsetenv("XDG_STATE_HOME");
    unsetenv("MOONGATE_DATA");

    mg_folder_default(path);
    CHECK_STR(path, "/nowhere/someone/.local/state/moongate");
    setenv("XDG_STATE_HOME", "/state", 1);
    mg_folder_default(path);
    CHECK_STR(path, "/state/moongate");
    setenv("MOONGATE_DATA", "/var/lib/moongate", 1);
    mg_folder_default(path);
    CHECK_STR(path, "/var/lib/moongate");
}

MG_TEST_MAIN()
