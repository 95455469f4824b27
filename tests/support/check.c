#include "check.h"

#include <stdarg.h>

struct check_test *check_tests;
jmp_buf check_abort;

void check_register(struct check_test *test)
{
    struct check_test **at = &check_tests;
    while (*at)
        at = &(*at)->next;
    *at = test;
}

void check_failed(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    longjmp(check_abort, 1);
}

int check_main(int argc, char **argv)
{
    int run = 0, failed = 0;
    for (struct check_test *test = check_tests; test; test = test->next) {
        if (argc > 1 && !strstr(test->name, argv[1]))
            continue;
        run++;
        if (setjmp(check_abort) == 0) {
            test->run();
            printf("ok   %s\n", test->name);
        } else {
            failed++;
            printf("FAIL %s\n", test->name);
        }
        fflush(stdout);
    }
    printf("%d tests, %d failed\n", run, failed);
    return failed > 0 || run == 0;
}
