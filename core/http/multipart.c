#include "http/multipart.h"

#include "base/limits.h"
#include "base/mem.h"
#include "http/headers.h"

const struct mg_multipart_limits mg_multipart_limits_default = {
    .parts = MG_MAX_FORM_PARTS, .header_bytes = MG_MAX_FORM_HEADER_BYTES, .name_bytes = MG_MAX_FORM_NAME_BYTES};

static mg_err refuse(struct mg_multipart *multipart, mg_err err, const char *reason)
{
    multipart->reason = reason;
    return err;
}

static mg_err bad(struct mg_multipart *multipart, const char *reason)
{
    return refuse(multipart, MG_E_BAD_REQUEST, reason);
}

/* ---- parameters of a header value -------------------------------------------------------------- */

struct param {
    mg_view name, value;               /* value without its quotes, escapes as they came */
    bool quoted;
};

/* "; name=value" or "; name=\"value\"". False: none is left, or it is none: then *rest is not empty. */
static bool next_param(mg_view *rest, struct param *out)
{
    mg_view text = mg_view_trim(*rest);
    *rest = text;
    if (!mg_view_starts(text, MG_VIEW(";")))
        return false;
    text = mg_view_trim(mg_view_skip(text, 1));
    size_t equals = mg_view_find(text, "=");
    out->name = mg_view_head(text, equals);
    text = mg_view_skip(text, equals + 1);
    if (equals == 0 || !mg_http_is_token(out->name) || !text.len)
        return false;
    out->quoted = text.ptr[0] == '"';
    size_t from = out->quoted, to = from;
    while (to < text.len && (out->quoted ? text.ptr[to] != '"' : text.ptr[to] != ';'))
        to += out->quoted && text.ptr[to] == '\\' ? 2 : 1;
    if (to > text.len || (out->quoted && to == text.len))
        return false;
    out->value = mg_view_head(mg_view_skip(text, from), to - from);
    if (!out->quoted && !mg_http_is_token(out->value = mg_view_trim(out->value)))
        return false;
    *rest = mg_view_skip(text, to + out->quoted);
    return true;
}

static bool is_boundary(mg_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && !memchr("'()+_,-./:=? ", c, 13))
            return false;
    }
    return text.len > 0 && text.len <= MG_MULTIPART_BOUNDARY && text.ptr[text.len - 1] != ' ';
}

mg_view mg_multipart_boundary(mg_view content_type)
{
    mg_view rest = content_type, found = MG_VIEW_NONE;
    struct param param;
    size_t type = mg_view_find(rest, ";");
    if (!mg_view_ieq(mg_view_trim(mg_view_head(rest, type)), MG_VIEW("multipart/form-data")))
        return MG_VIEW_NONE;
    for (rest = mg_view_skip(rest, type); next_param(&rest, &param);) {
        if (!mg_view_ieq(param.name, MG_VIEW("boundary")))
            continue;
        if (found.len)
            return MG_VIEW_NONE;
        found = param.value;
    }
    return rest.len == 0 && is_boundary(found) ? found : MG_VIEW_NONE;
}

/* ---- the header of a part ---------------------------------------------------------------------- */

/* Names are compared by us and by the provider: no escape, no second spelling. */
static mg_err take_name(struct mg_multipart *multipart, const struct param *param)
{
    if (multipart->part.name.ptr)
        return bad(multipart, "a part of the form has two names");
    if (param->value.len == 0 || memchr(param->value.ptr, '\\', param->value.len))
        return bad(multipart, "the name of a part of the form is empty or has a backslash in it");
    if (param->value.len > multipart->limits->name_bytes)
        return refuse(multipart, MG_E_TOO_LARGE, "the name of a part of the form is too long");
    multipart->part.name = param->value;
    return MG_OK;
}

static mg_err take_disposition(struct mg_multipart *multipart, mg_view value)
{
    struct param param;
    size_t type = mg_view_find(value, ";");
    if (!mg_view_ieq(mg_view_trim(mg_view_head(value, type)), MG_VIEW("form-data")))
        return bad(multipart, "a part of the form is not form-data");
    if (multipart->disposed)
        return bad(multipart, "a part of the form has two Content-Disposition headers");
    multipart->disposed = true;
    for (value = mg_view_skip(value, type); next_param(&value, &param);) {
        bool file = mg_view_ieq(param.name, MG_VIEW("filename")) || mg_view_ieq(param.name, MG_VIEW("filename*"));
        multipart->part.file |= file;
        if (mg_view_ieq(param.name, MG_VIEW("name*")))
            return bad(multipart, "the name of a part of the form is encoded");
        if (mg_view_ieq(param.name, MG_VIEW("name")))
            MG_TRY(take_name(multipart, &param));
    }
    return value.len ? bad(multipart, "the Content-Disposition of a part of the form cannot be read") : MG_OK;
}

static mg_err take_line(struct mg_multipart *multipart, mg_view line)
{
    size_t colon = mg_view_find(line, ":");
    mg_view name = mg_view_head(line, colon), value = mg_view_trim(mg_view_skip(line, colon + 1));
    if (colon == line.len || !mg_http_is_token(name) || !mg_http_is_field_value(value))
        return bad(multipart, "a header line of a part of the form is none");
    if (mg_view_ieq(name, MG_VIEW("content-disposition")))
        return take_disposition(multipart, value);
    bool plain = mg_view_ieq(value, MG_VIEW("binary")) || mg_view_ieq(value, MG_VIEW("8bit")) || mg_view_ieq(value, MG_VIEW("7bit"));
    if (mg_view_ieq(name, MG_VIEW("content-transfer-encoding")) && !plain)
        return bad(multipart, "a part of the form has a transfer encoding");
    return MG_OK;
}

/* All of it has come: lines that each end in CRLF. */
static mg_err end_header(struct mg_multipart *multipart)
{
    mg_view rest = mg_buf_view(&multipart->header);
    while (rest.len > 0) {
        size_t end = mg_view_search(rest, MG_VIEW("\r\n"));
        MG_TRY(take_line(multipart, mg_view_head(rest, end)));
        rest = mg_view_skip(rest, end + 2);
    }
    if (!multipart->part.name.ptr)
        return bad(multipart, "a part of the form has no name");
    if (++multipart->parts > multipart->limits->parts)
        return refuse(multipart, MG_E_TOO_LARGE, "the form has too many parts");
    return multipart->ops->on_part ? multipart->ops->on_part(multipart->arg, &multipart->part) : MG_OK;
}

/* ---- the machine ------------------------------------------------------------------------------- */

/* Some take the line end before the value for that of a delimiter: a value that begins with one is looked for, too. */
static void begin_value(struct mg_multipart *multipart)
{
    multipart->part.name = MG_VIEW_NONE;           /* the header goes */
    mg_buf_shrink(&multipart->header, 0);
    multipart->state = MG_MULTIPART_VALUE;
    multipart->matched = 2;
}

/* One byte of a header; the empty line ends it. */
static mg_err feed_header(struct mg_multipart *multipart, char c)
{
    struct mg_buf *header = &multipart->header;
    mg_view so_far = mg_buf_view(header);
    bool after_cr = so_far.len > 0 && so_far.ptr[so_far.len - 1] == '\r';
    if (after_cr != (c == '\n') || c == '\0')
        return bad(multipart, "a header line of a part of the form does not end in CRLF");
    if (header->len == multipart->limits->header_bytes)
        return refuse(multipart, MG_E_TOO_LARGE, "the header of a part of the form is too long");
    MG_TRY(mg_buf_putc(header, c));
    so_far = mg_buf_view(header);
    bool ends = mg_view_eq(so_far, MG_VIEW("\r\n")) || mg_view_ends(so_far, MG_VIEW("\r\n\r\n"));
    if (c != '\n' || !ends)
        return MG_OK;
    header->len -= 2;
    multipart->part.value = multipart->at;
    MG_TRY(end_header(multipart));
    begin_value(multipart);
    return MG_OK;
}

static mg_err feed_first(struct mg_multipart *multipart, char c)
{
    if (c != multipart->delimiter[2 + multipart->matched])
        return bad(multipart, "the body does not begin with the boundary of its Content-Type");
    if (++multipart->matched == multipart->delimiter_len - 2) {
        multipart->state = MG_MULTIPART_AFTER;
        multipart->tail_len = 0;
    }
    return MG_OK;
}

static mg_err feed_after(struct mg_multipart *multipart, char c)
{
    multipart->tail[multipart->tail_len++] = c;
    if (c != (multipart->tail[0] == '-' ? '-' : multipart->tail_len == 1 ? '\r' : '\n'))
        return bad(multipart, "the boundary stands in the form without ending a part of it");
    if (multipart->tail_len < 2)
        return MG_OK;
    multipart->tail_len = 0;
    multipart->state = c == '-' ? MG_MULTIPART_CLOSED : MG_MULTIPART_HEADER;
    multipart->disposed = false;
    multipart->part = (struct mg_multipart_part){.start = multipart->at - multipart->delimiter_len};
    return MG_OK;
}

static mg_err feed_closed(struct mg_multipart *multipart, char c)
{
    if (multipart->tail_len == 2 || c != "\r\n"[multipart->tail_len])
        return bad(multipart, "there are bytes behind the end of the form");
    multipart->tail_len++;
    return MG_OK;
}

static mg_err end_value(struct mg_multipart *multipart)
{
    if (multipart->at - multipart->part.value < multipart->delimiter_len)
        return bad(multipart, "a value begins with the boundary");
    multipart->part.end = multipart->at - multipart->delimiter_len;
    multipart->state = MG_MULTIPART_AFTER;
    multipart->tail_len = 0;
    return multipart->ops->on_end ? multipart->ops->on_end(multipart->arg, &multipart->part) : MG_OK;
}

/* Skips what is no delimiter. A CR stands in it at its beginning only, so a match that fails begins again with this byte. */
static mg_err feed_value(struct mg_multipart *multipart, mg_view *bytes)
{
    while (bytes->len > 0) {
        if (multipart->matched == 0) {
            const char *cr = memchr(bytes->ptr, '\r', bytes->len);
            size_t skip = cr ? (size_t)(cr - bytes->ptr) : bytes->len;
            multipart->at += skip;
            *bytes = mg_view_skip(*bytes, skip);
            if (!cr)
                return MG_OK;
        }
        char c = bytes->ptr[0];
        multipart->matched = c == multipart->delimiter[multipart->matched] ? multipart->matched + 1 : c == '\r';
        multipart->at++;
        *bytes = mg_view_skip(*bytes, 1);
        if (multipart->matched == multipart->delimiter_len)
            return end_value(multipart);
    }
    return MG_OK;
}

static mg_err feed(struct mg_multipart *multipart, mg_view bytes)
{
    while (bytes.len > 0) {
        if (multipart->state == MG_MULTIPART_VALUE) {
            MG_TRY(feed_value(multipart, &bytes));
            continue;
        }
        char c = bytes.ptr[0];
        bytes = mg_view_skip(bytes, 1);
        multipart->at++;
        switch (multipart->state) {
        case MG_MULTIPART_FIRST: MG_TRY(feed_first(multipart, c)); break;
        case MG_MULTIPART_AFTER: MG_TRY(feed_after(multipart, c)); break;
        case MG_MULTIPART_HEADER: MG_TRY(feed_header(multipart, c)); break;
        case MG_MULTIPART_VALUE: break;
        case MG_MULTIPART_CLOSED: MG_TRY(feed_closed(multipart, c)); break;
        }
    }
    return MG_OK;
}

/* ---- public ------------------------------------------------------------------------------------ */

void mg_multipart_init(struct mg_multipart *multipart, mg_view boundary, const struct mg_multipart_limits *limits,
                       const struct mg_multipart_ops *ops, void *arg)
{
    *multipart = (struct mg_multipart){.limits = limits, .ops = ops, .arg = arg, .delimiter_len = boundary.len + 4};
    memcpy(multipart->delimiter, "\r\n--", 4);
    memcpy(multipart->delimiter + 4, boundary.ptr, boundary.len);
    mg_buf_init(&multipart->header, limits->header_bytes + 1);
}

void mg_multipart_fini(struct mg_multipart *multipart)
{
    mg_buf_fini(&multipart->header);
}

mg_err mg_multipart_feed(struct mg_multipart *multipart, mg_view bytes)
{
    if (!multipart->failed)
        multipart->failed = feed(multipart, bytes);
    return multipart->failed;
}

bool mg_multipart_complete(const struct mg_multipart *multipart)
{
    return !multipart->failed && multipart->state == MG_MULTIPART_CLOSED;
}

const char *mg_multipart_reason(const struct mg_multipart *multipart)
{
    return multipart->reason ? multipart->reason : "";
}
