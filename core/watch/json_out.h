/* json_out.h - print flat JSON objects straight into a buffer; for core/watch and core/admin.
 *
 * The first error sticks and is what mg_json_out_end() answers, so that a row of calls needs no
 * checks. Keys are ours and need no escaping. */
#ifndef MG_WATCH_JSON_OUT_H
#define MG_WATCH_JSON_OUT_H

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"

struct mg_json_out {
    struct mg_buf *buf; /* borrowed */
    bool comma;         /* something stands before the next member or element */
    mg_err err;
};

static inline void mg_json_out_raw(struct mg_json_out *out, mg_view bytes)
{
    if (out->err == MG_OK)
        out->err = mg_buf_put(out->buf, bytes);
}

/* The comma and, inside an object, the key of what comes next. */
static inline void mg_json_out_key(struct mg_json_out *out, const char *key)
{
    if (out->comma)
        mg_json_out_raw(out, MG_VIEW(","));
    out->comma = true;
    if (key && out->err == MG_OK)
        out->err = mg_buf_putf(out->buf, "\"%s\":", key);
}

/* `bracket` is '{' or '['; key is NULL in an array and at the top. */
static inline void mg_json_out_open(struct mg_json_out *out, const char *key, char bracket)
{
    mg_json_out_key(out, key);
    mg_json_out_raw(out, mg_view_of(&bracket, 1));
    out->comma = false;
}

static inline void mg_json_out_close(struct mg_json_out *out, char bracket)
{
    mg_json_out_raw(out, mg_view_of(&bracket, 1));
    out->comma = true;
}

static inline void mg_json_out_number(struct mg_json_out *out, const char *key, uint64_t value)
{
    mg_json_out_key(out, key);
    if (out->err == MG_OK)
        out->err = mg_buf_putf(out->buf, "%" PRIu64, value);
}

static inline void mg_json_out_bool(struct mg_json_out *out, const char *key, bool value)
{
    mg_json_out_key(out, key);
    mg_json_out_raw(out, value ? MG_VIEW("true") : MG_VIEW("false"));
}

static inline void mg_json_out_null(struct mg_json_out *out, const char *key)
{
    mg_json_out_key(out, key);
    mg_json_out_raw(out, MG_VIEW("null"));
}

/* A NUL would be valid JSON that many readers, ours among them, do not take. */
static inline void mg_json_out_escaped(struct mg_json_out *out, mg_view value)
{
    while (out->err == MG_OK && value.len > 0) {
        const char *nul = memchr(value.ptr, '\0', value.len);
        mg_view head = nul ? mg_view_head(value, (size_t)(nul - value.ptr)) : value;
        out->err = mg_buf_put_json(out->buf, head);
        if (nul)
            mg_json_out_raw(out, MG_VIEW("\\ufffd"));
        value = mg_view_skip(value, head.len + (nul != NULL));
    }
}

/* A text without bytes is null. */
static inline void mg_json_out_text(struct mg_json_out *out, const char *key, mg_view value)
{
    if (value.len == 0) {
        mg_json_out_null(out, key);
        return;
    }
    mg_json_out_key(out, key);
    mg_json_out_raw(out, MG_VIEW("\""));
    mg_json_out_escaped(out, value);
    mg_json_out_raw(out, MG_VIEW("\""));
}

static inline mg_err mg_json_out_end(const struct mg_json_out *out)
{
    return out->err;
}

#endif
