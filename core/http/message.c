#include "http/message.h"

#include <assert.h>

#include "base/limits.h"
#include "base/mem.h"

enum {
    FIRST_ITEMS = 32,        /* as many as are kept between two messages */
    LINE_BYTES = 4,          /* what ": " and CRLF add to a header line */
    START_BYTES = 64         /* room for a method beside the target */
};

const struct mg_http_limits mg_http_limits_default = {
    .target_bytes = MG_MAX_REQUEST_LINE_BYTES,
    .header_bytes = MG_MAX_HEADER_BYTES,
    .header_count = MG_MAX_HEADER_COUNT,
    .body_bytes = MG_MAX_BODY_BYTES,
};

static int begin_header(struct mg_http_message *m);
static int end_line(struct mg_http_message *m);
static int count_bytes(struct mg_http_message *m, size_t len);
static int keep(struct mg_http_message *m, mg_view piece);

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

void mg_http_message_init(struct mg_http_message *m, llhttp_type_t type, const llhttp_settings_t *settings,
                          const struct mg_http_limits *limits)
{
    *m = (struct mg_http_message){.limits = limits};
    llhttp_init(&m->parser, type, settings);
    m->parser.data = m;
    mg_buf_init(&m->bytes, limits->header_bytes + limits->target_bytes + START_BYTES);
    m->bytes.wiped = true;             /* keys come in headers */
}

void mg_http_message_fini(struct mg_http_message *m)
{
    mg_buf_fini(&m->bytes);
    mg_free(m->items);
}

void mg_http_message_reset(struct mg_http_message *m)
{
    llhttp_reset(&m->parser);
    mg_buf_shrink(&m->bytes, MG_HTTP_KEPT_BYTES);
    if (m->cap > FIRST_ITEMS) {
        mg_free(m->items);
        m->items = NULL;
        m->cap = 0;
    }
    m->count = m->start_bytes = m->counted_bytes = m->trailers = 0;
    m->body_bytes = 0;
    m->in_name = m->in_line = m->has_head = false;
    m->failed = MG_OK;
    m->reason = NULL;
}

int mg_http_message_fail(struct mg_http_message *m, mg_err err, const char *reason)
{
    if (!m->failed) {
        m->failed = err;
        m->reason = reason;
    }
    return HPE_USER;
}

int mg_http_message_violated(struct mg_http_message *m, const char *reason)
{
    bool request = m->parser.type == HTTP_REQUEST;
    return mg_http_message_fail(m, request ? MG_E_BAD_REQUEST : MG_E_PROTOCOL, reason);
}

int mg_http_message_put_start(struct mg_http_message *m, mg_view piece)
{
    m->start_bytes += piece.len;
    return keep(m, piece);
}

bool mg_http_message_resolve(struct mg_http_message *m)
{
    if (m->in_line && end_line(m) != 0)
        return false;
    const char *at = mg_buf_view(&m->bytes).ptr;
    at = at ? at + m->start_bytes : "";
    for (size_t i = 0; i < m->count; i++) {
        struct mg_header *item = &m->items[i];
        item->name.ptr = at;
        item->value.ptr = at + item->name.len + 2;
        at = item->value.ptr + item->value.len + 2;
    }
    mg_headers_classify(m->items, m->count);
    m->has_head = true;
    return true;
}

const char *mg_http_message_framing(const struct mg_http_message *m, struct mg_http_framing *out)
{
    const struct mg_headers headers = mg_http_message_headers(m);
    const mg_view *coding = mg_headers_find(headers, MG_VIEW("transfer-encoding"));
    const mg_view *length = mg_headers_find(headers, MG_VIEW("content-length"));
    *out = (struct mg_http_framing){.chunked = coding, .has_length = length};

    if (coding && length)
        return "Content-Length and Transfer-Encoding exclude each other";
    if (coding && m->parser.http_minor == 0)
        return "HTTP/1.0 knows no Transfer-Encoding";
    if (coding && (!mg_view_ieq(*coding, MG_VIEW("chunked")) ||
                   mg_headers_count(headers, MG_VIEW("transfer-encoding")) > 1))
        return "the only Transfer-Encoding spoken here is chunked";
    if (length && mg_headers_count(headers, MG_VIEW("content-length")) > 1)
        return "there is more than one Content-Length";
    if (length && !mg_view_u64(*length, &out->content_length))
        return "Content-Length is not a number";
    return NULL;
}

bool mg_http_message_keep_alive(const struct mg_http_message *m)
{
    const struct mg_headers headers = mg_http_message_headers(m);
    if (mg_headers_has_token(headers, MG_VIEW("connection"), MG_VIEW("close")))
        return false;
    return m->parser.http_minor > 0 ||
           mg_headers_has_token(headers, MG_VIEW("connection"), MG_VIEW("keep-alive"));
}

bool mg_http_message_run(struct mg_http_message *m, mg_view in, size_t *out_used)
{
    llhttp_errno_t code = llhttp_execute(&m->parser, in.ptr, in.len);
    if (code == HPE_OK) {
        *out_used = in.len;
        return false;
    }
    const char *at = llhttp_get_error_pos(&m->parser);
    *out_used = at ? (size_t)(at - in.ptr) : 0;
    assert(*out_used <= in.len);
    if (code == HPE_PAUSED)
        return true;
    if (code == HPE_PAUSED_H2_UPGRADE)
        mg_http_message_violated(m, "HTTP/2 is not spoken here");
    mg_http_message_violated(m, llhttp_get_error_reason(&m->parser));
    return false;
}

int mg_http_message_on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct mg_http_message *m = parser->data;
    if (!m->in_name && begin_header(m) != 0)
        return HPE_USER;
    if (count_bytes(m, len) != 0)
        return HPE_USER;
    if (m->has_head)
        return 0;
    m->items[m->count - 1].name.len += len;
    return keep(m, mg_view_of(at, len));
}

int mg_http_message_on_field_end(llhttp_t *parser)
{
    struct mg_http_message *m = parser->data;
    m->in_name = false;
    return m->has_head ? 0 : keep(m, MG_VIEW(": "));
}

int mg_http_message_on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct mg_http_message *m = parser->data;
    if (count_bytes(m, len) != 0)
        return HPE_USER;
    if (m->has_head)
        return 0;
    mg_view *value = &m->items[m->count - 1].value, piece = mg_view_of(at, len);
    while (value->len == 0 && piece.len > 0 && is_blank(piece.ptr[0]))
        piece = mg_view_skip(piece, 1);
    value->len += piece.len;
    return keep(m, piece);
}

int mg_http_message_on_ignored(llhttp_t *parser, const char *at, size_t len)
{
    return count_bytes(parser->data, len);
}

static int too_large(struct mg_http_message *m, const char *reason)
{
    bool request = m->parser.type == HTTP_REQUEST;
    return mg_http_message_fail(m, request ? MG_E_HEADERS_TOO_LARGE : MG_E_PROTOCOL, reason);
}

static int begin_header(struct mg_http_message *m)
{
    size_t *lines = m->has_head ? &m->trailers : &m->count;
    if (m->in_line && end_line(m) != 0)
        return HPE_USER;
    if (*lines >= m->limits->header_count)
        return too_large(m, "there are too many header lines");
    if (!m->has_head && m->count == m->cap) {
        m->cap = m->cap ? m->cap * 2 : FIRST_ITEMS;
        m->items = mg_realloc(m->items, m->cap * sizeof *m->items);
    }
    if (!m->has_head)
        m->items[m->count] = (struct mg_header){MG_VIEW_NONE, MG_VIEW_NONE, MG_HEADER_LINE};
    (*lines)++;
    m->in_name = true;
    m->in_line = !m->has_head;
    return count_bytes(m, LINE_BYTES);
}

/* Blanks behind the value are no part of it. */
static int end_line(struct mg_http_message *m)
{
    mg_view *value = &m->items[m->count - 1].value;
    for (; value->len > 0 && is_blank(mg_buf_tail(&m->bytes)[-1]); value->len--)
        m->bytes.len--;
    m->in_line = false;
    return keep(m, MG_VIEW("\r\n"));
}

static int count_bytes(struct mg_http_message *m, size_t len)
{
    if (len > m->limits->header_bytes - m->counted_bytes)
        return too_large(m, "the header lines are too long");
    m->counted_bytes += len;
    return 0;
}

static int keep(struct mg_http_message *m, mg_view piece)
{
    mg_err err = mg_buf_put(&m->bytes, piece);
    return err ? mg_http_message_fail(m, err, "there is no memory for the header lines") : 0;
}
