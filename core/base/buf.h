/* buf.h - a growing byte buffer with a maximum it was born with.
 *
 * Everything whose size a peer, client or plugin chooses is collected in one of these. Growing
 * past `max` is MG_E_TOO_LARGE and changes nothing. Consuming from the front is cheap: the
 * offset moves and bytes are shifted only when room is needed. Not thread safe. */
#ifndef MG_BASE_BUF_H
#define MG_BASE_BUF_H

#include "base/err.h"
#include "base/view.h"

struct mg_buf {
    char *ptr;               /* owned; NULL until the first byte */
    size_t start;            /* first live byte */
    size_t len;              /* live bytes from start */
    size_t cap;
    size_t max;              /* of len; never 0 in use */
    bool wiped;              /* memory it leaves is overwritten first: somebody's secret may stand there */
};

void mg_buf_init(struct mg_buf *buf, size_t max);
void mg_buf_fini(struct mg_buf *buf);                /* frees; the buffer may be used again */
void mg_buf_clear(struct mg_buf *buf);               /* empties, keeps the memory */
void mg_buf_shrink(struct mg_buf *buf, size_t keep); /* empties, and frees what is above keep bytes */

/* All fail with MG_E_TOO_LARGE past max or MG_E_MEMORY when the system refuses. */
static inline MG_MUST_USE mg_err mg_buf_put(struct mg_buf *buf, mg_view bytes);
MG_MUST_USE mg_err mg_buf_putc(struct mg_buf *buf, char c);
MG_MUST_USE mg_err mg_buf_putf(struct mg_buf *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* What mg_buf_reserve() does when there is no room yet. */
MG_MUST_USE mg_err mg_buf_grow(struct mg_buf *buf, size_t n);

/* Room for at least n more bytes; write at mg_buf_tail() and then mg_buf_grew(). */
static inline MG_MUST_USE mg_err mg_buf_reserve(struct mg_buf *buf, size_t n)
{
    if (n <= buf->max - buf->len && n <= buf->cap - buf->start - buf->len)
        return MG_OK;
    return mg_buf_grow(buf, n);
}

static inline char *mg_buf_tail(struct mg_buf *buf)
{
    return buf->ptr + buf->start + buf->len;
}

static inline void mg_buf_grew(struct mg_buf *buf, size_t n)
{
    buf->len += n;
}

static inline mg_err mg_buf_put(struct mg_buf *buf, mg_view bytes)
{
    if (bytes.len == 0)
        return MG_OK;
    MG_TRY(mg_buf_reserve(buf, bytes.len));
    memcpy(mg_buf_tail(buf), bytes.ptr, bytes.len);
    mg_buf_grew(buf, bytes.len);
    return MG_OK;
}

/* Drops n bytes (at most all) from the front. */
void mg_buf_consume(struct mg_buf *buf, size_t n);

/* Borrowed until the next call that changes buf. */
static inline mg_view mg_buf_view(const struct mg_buf *buf)
{
    return (mg_view){buf->ptr ? buf->ptr + buf->start : NULL, buf->len};
}

/* NUL-terminates behind the live bytes and returns them as a C string; "" when empty. */
const char *mg_buf_cstr(struct mg_buf *buf);

/* Appends text as the inside of a JSON string (quotes not added); invalid UTF-8 becomes U+FFFD. */
MG_MUST_USE mg_err mg_buf_put_json(struct mg_buf *buf, mg_view text);

#endif
