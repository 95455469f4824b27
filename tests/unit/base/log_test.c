#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static int saved, file;

/* Lines go into a file instead of the terminal. */
static void capture(void)
{
    char path[] = "/tmp/moongate-log-XXXXXX";
    file = mkstemp(path);
    CHECK(file >= 0);
    unlink(path);
    saved = dup(STDERR_FILENO);
    dup2(file, STDERR_FILENO);
}

static size_t lines(void)
{
    static char text[1 << 22];
    dup2(saved, STDERR_FILENO);
    close(saved);
    lseek(file, 0, SEEK_SET);
    size_t count = 0;
    ssize_t n;
    while ((n = read(file, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < n; i++)
            count += text[i] == '\n';
    close(file);
    return count;
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < 1000; i++)
        mg_log_info("test", "writer=%d line=%d", *(int *)arg, i);
    return NULL;
}

TEST(lines_of_all_threads_come_out_once)
{
    int names[3] = {0, 1, 2};
    pthread_t threads[3];
    capture();
    mg_log_start();
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, write_lines, &names[i]);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    mg_log_stop();

    CHECK_INT(lines(), 3000);
    CHECK_INT(mg_log_dropped(), 0);
}

TEST(a_full_ring_drops_and_counts)
{
    uint64_t before = mg_log_dropped();
    capture();
    mg_log_start();
    for (int i = 0; i < 5000; i++)
        mg_log_info("flood", "line=%d", i);
    mg_log_stop();

    size_t written = lines();
    CHECK_INT(written + (mg_log_dropped() - before), 5000);
    CHECK_INT(written, 4096);
}

TEST(the_ring_goes_round)
{
    capture();
    mg_log_start();
    for (int i = 0; i < 10000; i++) {
        mg_log_info("round", "line=%d", i);
        if (i % 1000 == 0)
            mg_log_drain();
    }
    mg_log_stop();

    CHECK_INT(lines(), 10000);
}

TEST(control_bytes_cannot_forge_a_line)
{
    capture();
    mg_log_info("x", "a=%s", "one\ntwo\r\x1b[31m");

    CHECK_INT(lines(), 1);
}

MG_TEST_MAIN()
