/* err.h - the closed list of errors and what each means to a client, and diagnostics for people.
 *
 * A row is the whole contract: the HTTP status a client sees when this is the last word, whether
 * another upstream may be tried, and the words for the log. Codes name the side that spoke: an
 * upstream that sends too much is MG_E_PROTOCOL, never MG_E_TOO_LARGE, or a client would be
 * blamed for it. */
#ifndef MG_BASE_ERR_H
#define MG_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

/*     name         status  retry  text                                  */
#define MG_ERR_LIST(X)                                                                             \
    X(OK, 0, 0, "ok")                                                                              \
    X(E_AGAIN, 0, 0, "not yet")                                                                    \
    X(E_CANCELLED, 499, 0, "caller gave up")                                                       \
    X(E_TIMEOUT, 504, 1, "deadline passed")                                                        \
    X(E_CONNECT, 502, 1, "upstream unreachable")                                                   \
    X(E_RESOLVE, 502, 1, "upstream name does not resolve")                                         \
    X(E_TLS, 502, 1, "TLS handshake failed")                                                       \
    X(E_CLOSED, 502, 1, "peer closed the connection")                                              \
    X(E_IO, 502, 1, "read or write failed")                                                        \
    X(E_PROTOCOL, 502, 1, "upstream broke the protocol")                                           \
    X(E_BAD_REQUEST, 400, 0, "client broke the protocol")                                          \
    X(E_TOO_LARGE, 413, 0, "limit reached")                                                        \
    X(E_HEADERS_TOO_LARGE, 431, 0, "header limit reached")                                         \
    X(E_BUSY, 503, 0, "no room for more work")                                                     \
    X(E_NOT_FOUND, 404, 0, "no such thing")                                                        \
    X(E_EXISTS, 409, 0, "there is one already")                                                    \
    X(E_DENIED, 403, 0, "not allowed")                                                             \
    X(E_CONFIG, 500, 0, "configuration refused")                                                   \
    X(E_SCRIPT, 500, 0, "plugin failed")                                                           \
    X(E_STORE, 500, 0, "store failed")                                                             \
    X(E_SYSTEM, 500, 0, "system call failed")                                                      \
    X(E_MEMORY, 503, 0, "memory limit reached")

typedef enum mg_err {
#define X(name, status, retry, text) MG_##name,
    MG_ERR_LIST(X)
#undef X
} mg_err;

#define MG_MUST_USE __attribute__((warn_unused_result))

/* Hands an error up where nothing needs undoing. */
#define MG_TRY(call)                                                                               \
    do {                                                                                           \
        mg_err mg_try_err_ = (call);                                                               \
        if (mg_try_err_ != MG_OK)                                                                  \
            return mg_try_err_;                                                                    \
    } while (0)

const char *mg_err_name(mg_err err);   /* "E_TIMEOUT" */
const char *mg_err_text(mg_err err);   /* "deadline passed" */
int mg_err_status(mg_err err);         /* 504 */
bool mg_err_retry(mg_err err);

/* Where a human must act: which file, which line, one sentence that says what to do. */
struct mg_diag {
    char file[256];
    int line;                /* 0 when no line is to blame */
    char text[768];
};

/* Fills diag (NULL is a no-op) and returns err, so that a failing function ends in one line. */
mg_err mg_diag_set(struct mg_diag *diag, mg_err err, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* Renders "file:line: text" into out, cut to size. */
void mg_diag_print(const struct mg_diag *diag, char *out, unsigned long size);

#endif
