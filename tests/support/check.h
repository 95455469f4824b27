/* check.h - unit tests in plain C: TEST(name_is_a_sentence) { … CHECK(…); } and MG_TEST_MAIN().
 *
 * Each TEST registers itself. `prog` runs all, `prog NAME` the ones whose name contains NAME. A
 * failed CHECK prints and ends that test; the process exits 1 when any failed. */
#ifndef MG_TESTS_CHECK_H
#define MG_TESTS_CHECK_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/view.h"

struct check_test {
    const char *name;
    void (*run)(void);
    struct check_test *next;
};

extern struct check_test *check_tests;
extern jmp_buf check_abort;

void check_register(struct check_test *test);
void check_failed(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4), noreturn));
int check_main(int argc, char **argv);

#define TEST(name)                                                                                 \
    static void test_##name(void);                                                                 \
    static struct check_test check_##name = {#name, test_##name, NULL};                            \
    __attribute__((constructor)) static void check_add_##name(void)                                \
    {                                                                                              \
        check_register(&check_##name);                                                             \
    }                                                                                              \
    static void test_##name(void)

#define MG_TEST_MAIN()                                                                             \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return check_main(argc, argv);                                                             \
    }

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            check_failed(__FILE__, __LINE__, "%s", #cond);                                         \
    } while (0)

#define CHECK_OK(call)                                                                             \
    do {                                                                                           \
        mg_err check_err_ = (call);                                                                \
        if (check_err_ != MG_OK)                                                                   \
            check_failed(__FILE__, __LINE__, "%s: %s", #call, mg_err_name(check_err_));            \
    } while (0)

#define CHECK_INT(got, want)                                                                       \
    do {                                                                                           \
        long long check_got_ = (long long)(got), check_want_ = (long long)(want);                  \
        if (check_got_ != check_want_)                                                             \
            check_failed(__FILE__, __LINE__, "%s is %lld, want %lld", #got, check_got_, check_want_); \
    } while (0)

#define CHECK_VIEW(got, want)                                                                      \
    do {                                                                                           \
        mg_view check_got_ = (got), check_want_ = (want);                                          \
        if (!mg_view_eq(check_got_, check_want_))                                                  \
            check_failed(__FILE__, __LINE__, "%s is \"%.*s\", want \"%.*s\"", #got, MG_FMT(check_got_), \
                         MG_FMT(check_want_));                                                     \
    } while (0)

#define CHECK_STR(got, want) CHECK_VIEW(mg_view_cstr(got), mg_view_cstr(want))

#endif
