#include "gateway/ours.h"

bool mg_asks_ours(struct mg_headers headers)
{
    const mg_view prefix = MG_VIEW("x-moongate-");
    for (size_t i = 0; i < headers.count; i++) {
        mg_view name = headers.items[i].name;
        bool may = name.len > prefix.len && (name.ptr[2] | 0x20) == 'm';     /* SDKs send many that begin with x- */
        if (may && mg_view_ieq(mg_view_head(name, prefix.len), prefix))
            return true;
    }
    return false;
}

mg_view mg_asked_ours(const struct mg_exchange *x, mg_view name)
{
    return x->has_ours ? mg_headers_get(x->request.headers, name) : MG_VIEW_NONE;
}
