#include "gateway/upload.h"

#include "gateway/surface.h"

/* While nobody takes the rest: what one read brought, and what TLS had decrypted of it. */
enum { PENDING_BYTES = 4 * MG_LOOP_READ_BYTES };

static void on_room(void *owner)
{
    struct mg_exchange *x = owner;
    if (x->client)
        mg_client_wait(x->client, false);
}

static void on_arena_reset(void *arg)
{
    struct mg_upload *upload = arg;
    mg_form_fini(&upload->form);
    mg_feed_fini(&upload->feed);
}

static bool begin(struct mg_exchange *x, mg_view content_type)
{
    struct mg_upload *upload = mg_arena_new(&x->arena, struct mg_upload);
    if (!mg_form_init(&upload->form, &x->arena, content_type))
        return false;
    upload->x = x;
    mg_feed_init(&upload->feed, PENDING_BYTES, on_room, x);
    upload->feed.chunked = x->request.chunked;
    mg_arena_cleanup(&x->arena, on_arena_reset, upload);
    mg_buf_init(&x->body, x->worker->config->limits.form_bytes);
    x->upload = upload;
    return true;
}

static bool take_head(struct mg_exchange *x)
{
    mg_view type = mg_headers_get(x->request.headers, MG_VIEW("content-type"));
    bool form = mg_view_ieq(mg_view_trim(mg_view_head(type, mg_view_find(type, ";"))), MG_VIEW("multipart/form-data"));
    bool one = mg_headers_count(x->request.headers, MG_VIEW("content-type")) == 1;
    if (form && one && begin(x, type))
        return true;
    if (!form && x->surface->form == MG_FORM_MAY)
        return true;
    if (form)
        mg_exchange_refuse(x, 400, "invalid_form", "The Content-Type of this form has no boundary that can be read in one way only.");
    else
        mg_exchange_refuse(x, 400, "form_expected", "This endpoint takes a form: send its fields as multipart/form-data, `model` first and "
                           "files last.");
    return false;
}

static uint64_t limit_of(const struct mg_exchange *x)
{
    const struct mg_config_limits *limits = &x->worker->config->limits;
    return x->upload ? limits->upload_bytes : limits->body_bytes;
}

void mg_upload_refuse_size(struct mg_exchange *x)
{
    mg_exchange_refuse(x, 413, "body_too_large", "The request body is larger than the %llu bytes this gateway takes (limits.%s).",
                       (unsigned long long)limit_of(x), x->upload ? "upload_bytes" : "body_bytes");
}

/* The parser knows the larger limit, of uploads. */
bool mg_upload_fits(struct mg_exchange *x)
{
    if (x->surface->form && !take_head(x))
        return false;
    mg_http_server_limit_body(x->client->http, limit_of(x));
    if (x->request.content_length <= limit_of(x))
        return true;
    mg_upload_refuse_size(x);
    return false;
}

bool mg_exchange_takes_body(const struct mg_exchange *x)
{
    return x->upload ? !x->upload->ended : x->state == MG_EXCHANGE_READING;
}

bool mg_exchange_is_ready(const struct mg_exchange *x)
{
    return x->upload && x->upload->form.sealed && !x->upload->begun;
}

/* ---- what comes -------------------------------------------------------------------------------- */

static mg_err refuse_form(struct mg_exchange *x, mg_err err)
{
    if (!mg_upload_stop(x))
        mg_exchange_refuse(x, 400, err == MG_E_TOO_LARGE ? "form_too_large" : "invalid_form", "The form cannot be taken: %s.",
                           mg_form_reason(&x->upload->form));
    return MG_E_DENIED;
}

/* More comes than is held: from here on it is handed on. */
static mg_err seal(struct mg_exchange *x)
{
    struct mg_upload *upload = x->upload;
    upload->form.sealed = true;
    upload->feed.length = x->request.content_length - x->body.len;
    x->answer.keep_alive = false;      /* until all of it came */
    mg_client_drains(x->client);
    if (upload->form.has_model || x->surface->kept)
        return MG_OK;
    mg_exchange_refuse_as(x, 400, MG_VIEW("missing_model"),
                          mg_arena_printf(&x->arena, "The field 'model' is not in the first %llu bytes of the form: send it before the file.",
                                          (unsigned long long)x->body.max), MG_VIEW("model"), 0);
    return MG_E_DENIED;
}

static mg_err hand_on(struct mg_exchange *x, mg_view bytes)
{
    mg_err err = mg_feed_put(&x->upload->feed, bytes);
    if (err == MG_E_AGAIN)
        mg_client_wait(x->client, true);
    return err == MG_E_AGAIN ? MG_OK : err;
}

mg_err mg_upload_body(struct mg_exchange *x, mg_view bytes)
{
    struct mg_upload *upload = x->upload;
    bool fits = !upload->form.sealed && bytes.len <= x->body.max - x->body.len;
    x->timeline->bytes_in += bytes.len;
    if (!fits && !upload->form.sealed)
        MG_TRY(seal(x));
    mg_err err = mg_form_feed(&upload->form, bytes);
    if (err != MG_OK)
        return refuse_form(x, err);
    return fits ? mg_buf_put(&x->body, bytes) : hand_on(x, bytes);
}

bool mg_upload_begins(struct mg_exchange *x)
{
    struct mg_upload *upload = x->upload;
    bool begins = !upload->begun;
    upload->ended = mg_http_server_complete(x->client->http);
    upload->begun = true;
    if (upload->ended && !mg_multipart_complete(&upload->form.multipart)) {
        if (!mg_upload_stop(x))
            mg_exchange_refuse(x, 400, "invalid_form", "The form ends before its last delimiter.");
        return false;
    }
    if (!upload->ended || !upload->form.sealed)
        return begins;
    x->answer.keep_alive = x->request.keep_alive;
    mg_feed_end(&upload->feed);
    return begins;
}

static bool is_bodiless(const struct mg_exchange *x)
{
    return x->surface->method != MG_HTTP_POST;
}

mg_err mg_upload_scan(struct mg_exchange *x, struct mg_json_error *out_error)
{
    mg_view body = is_bodiless(x) ? MG_VIEW("{}") : mg_buf_view(&x->body);
    if (x->upload)
        return mg_form_scan(&x->upload->form, body, &x->call.request, &x->arena, out_error);
    return body.len ? mg_request_scan_as(&x->call.request, &x->arena, x->dialect->name, body, out_error) : MG_E_BAD_REQUEST;
}

void mg_upload_call(const struct mg_exchange *x, struct mg_relay_call *call)
{
    call->plain = x->surface->plain;
    if (!call->plain)
        return;
    call->bodiless = is_bodiless(x);
    call->method = x->surface->method == MG_HTTP_DELETE ? MG_VIEW("DELETE") : call->bodiless ? MG_VIEW("GET") : MG_VIEW("POST");
    call->first_key = x->surface->kept;
    call->id = x->kept_id;
    call->query = x->surface->kept ? x->request.query : MG_VIEW_NONE;
    call->window = mg_buf_view(&x->body);
    call->feed = x->upload && x->upload->form.sealed ? &x->upload->feed : NULL;
}

bool mg_upload_stop(struct mg_exchange *x)
{
    x->answer.keep_alive = false;
    if (x->hook)
        mg_hook_cancel(x->hook);
    x->hook = NULL;
    mg_relay_cancel(&x->relay, MG_CLASS_invalid_request);
    if (x->answer.committed)
        mg_exchange_finish(x, x->sent_status, false);
    else
        mg_answer_forget(&x->answer);
    return x->state == MG_EXCHANGE_DONE;
}
