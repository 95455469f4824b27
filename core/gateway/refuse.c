/* Errors in the dialect of the client that asked. */
#include <stdarg.h>
#include <stdio.h>

#include "gateway/exchange.h"
#include "gateway/upload.h"

mg_view mg_exchange_error(struct mg_exchange *x, int status, mg_view code, mg_view message, mg_view param)
{
    struct mg_error_text error = {.status = status, .code = code, .message = message, .param = param, .seq = x->sent_events};
    return mg_dialect_error(x->dialect, &x->arena, &error, x->answer.committed);
}

static void put_retry_after(struct mg_exchange *x, uint64_t retry_after_ms)
{
    if (!retry_after_ms)
        return;
    if (mg_http_put_header_u64(&x->lines, MG_VIEW("retry-after"), (retry_after_ms + 999) / 1000) != MG_OK ||
        mg_http_put_header_u64(&x->lines, MG_VIEW("retry-after-ms"), retry_after_ms) != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "answer", "retry-after did not fit");
}

/* SDKs ask again after any status from 500 on, and after 429, unless they are told that it is of no use. */
static void put_should_retry(struct mg_exchange *x, int status)
{
    bool told = x->limiting && !x->timeline->attempt_count;   /* by the limit that refused it, if one did */
    bool in_vain = status == 501 || (x->relayed && !x->relay.result.ok && x->relay.result.in_vain && !told);
    if (in_vain && mg_http_put_own(&x->lines, MG_VIEW("x-should-retry"), MG_VIEW("false")) != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "answer", "x-should-retry did not fit");
}

static void answer_with_lines(struct mg_exchange *x, int status, const char *content_type, mg_view body)
{
    if (mg_http_put_header(&x->lines, MG_VIEW("content-type"), mg_view_cstr(content_type)) != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "answer", "the content type did not fit");
    mg_exchange_answer(x, status, mg_buf_view(&x->lines), body);
}

void mg_answer_typed(struct mg_exchange *x, int status, const char *content_type, mg_view body)
{
    mg_exchange_lines(x, false);
    answer_with_lines(x, status, content_type, body);
}

void mg_answer_json(struct mg_exchange *x, int status, mg_view body)
{
    mg_answer_typed(x, status, "application/json", body);
}

void mg_exchange_refuse_as(struct mg_exchange *x, int status, mg_view code, mg_view message, mg_view param,
                           uint64_t retry_after_ms)
{
    x->timeline->error_code = mg_arena_dup(&x->arena, code);
    mg_exchange_lines(x, false);
    put_retry_after(x, retry_after_ms);
    put_should_retry(x, status);
    status = mg_dialect_status(x->dialect, status);
    answer_with_lines(x, status, "application/json", mg_exchange_error(x, status, code, message, param));
}

/* Nobody should try again by itself: a human decides when it is back. */
void mg_exchange_refuse_disabled(struct mg_exchange *x, const struct mg_switch *off, const char *what)
{
    int status = off->kind == MG_SWITCH_WORKFLOW ? 503 : 403;
    mg_view code = mg_arena_printf(&x->arena, "%s_disabled", mg_switch_kind_name(off->kind));
    mg_view text = mg_arena_printf(&x->arena, "%s is disabled%s%s", what, *off->message ? ": " : " by the operator of this gateway.",
                                   off->message);
    mg_exchange_record_disabled(x);
    mg_timeline_note(x->timeline, mg_exchange_now(x), "switch", "%s %s is disabled by hand", mg_switch_kind_name(off->kind),
                     off->name);
    x->timeline->error_code = code;
    mg_exchange_lines(x, false);
    if (mg_http_put_own(&x->lines, MG_VIEW("x-should-retry"), MG_VIEW("false")) != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "answer", "x-should-retry did not fit");
    status = mg_dialect_status(x->dialect, status);
    answer_with_lines(x, status, "application/json", mg_exchange_error(x, status, code, text, MG_VIEW_NONE));
}

void mg_exchange_refuse(struct mg_exchange *x, int status, const char *code, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mg_exchange_refuse_as(x, status, mg_view_cstr(code), mg_view_cstr(text), MG_VIEW_NONE, status == 503 ? 1000 : 0);
}

void mg_exchange_broken(struct mg_exchange *x, mg_err err, const char *reason)
{
    x->answer.keep_alive = false;
    const char *code = err == MG_E_TOO_LARGE ? "body_too_large" : err == MG_E_HEADERS_TOO_LARGE ? "headers_too_large"
                       : err == MG_E_TIMEOUT ? "request_timeout" : "malformed_request";
    if (x->upload && mg_upload_stop(x))
        return;
    if (err == MG_E_TOO_LARGE)
        mg_upload_refuse_size(x);
    else
        mg_exchange_refuse(x, err == MG_E_TIMEOUT ? 408 : mg_err_status(err), code, "The request could not be read: %s.",
                           reason && *reason ? reason : mg_err_text(err));
}
