#include "gateway/cors.h"

/* The configured origin that lets this page in; empty when none does. */
static mg_view allowed_origin(const struct mg_exchange *x)
{
    const struct mg_config_gateway *config = x->worker->config;
    mg_view origin = config->cors_count ? mg_headers_get(x->request.headers, MG_VIEW("origin")) : MG_VIEW_NONE;
    for (int i = 0; origin.len && i < config->cors_count; i++) {
        mg_view allowed = mg_view_cstr(config->cors_origins[i]);
        if (mg_view_eq(allowed, MG_VIEW("*")) || mg_view_ieq(allowed, origin))
            return allowed;
    }
    return MG_VIEW_NONE;
}

mg_err mg_cors_put(struct mg_exchange *x, struct mg_buf *lines)
{
    mg_view allowed = allowed_origin(x);
    if (!allowed.len)
        return MG_OK;
    MG_TRY(mg_http_put_header(lines, MG_VIEW("access-control-allow-origin"), allowed));
    MG_TRY(mg_http_put_header(lines, MG_VIEW("access-control-expose-headers"), MG_VIEW("*")));
    return mg_http_put_header(lines, MG_VIEW("vary"), MG_VIEW("origin"));
}

static mg_err put_permissions(struct mg_exchange *x)
{
    mg_view asked = mg_headers_get(x->request.headers, MG_VIEW("access-control-request-headers"));
    MG_TRY(mg_http_put_header(&x->lines, MG_VIEW("access-control-allow-methods"), MG_VIEW("GET, POST, OPTIONS")));
    MG_TRY(mg_http_put_header(&x->lines, MG_VIEW("access-control-max-age"), MG_VIEW("600")));
    return asked.len ? mg_http_put_header(&x->lines, MG_VIEW("access-control-allow-headers"), asked) : MG_OK;
}

bool mg_cors_preflight(struct mg_exchange *x)
{
    bool asks = mg_headers_find(x->request.headers, MG_VIEW("access-control-request-method")) != NULL;
    if (!asks || !allowed_origin(x).len)
        return false;
    mg_exchange_lines(x, false);
    if (put_permissions(x) != MG_OK)
        return false;
    mg_exchange_answer(x, 200, mg_buf_view(&x->lines), MG_VIEW_NONE);
    return true;
}
