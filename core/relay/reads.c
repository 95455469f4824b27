/* Whether a target's model can read what the request shows it. What nobody knows is tried. */
#include "chat/modalities.h"
#include "config/known.h"
#include "relay/relay_parts.h"

static uint32_t shown(struct mg_relay *relay)
{
    if (!relay->shown_known) {
        relay->shown = mg_modalities_in(relay->call.call->request.body);
        relay->shown_known = true;
    }
    return relay->shown;
}

bool mg_relay_reads(struct mg_relay *relay, int candidate, mg_view *out_text)
{
    const struct mg_config_target *target = relay->call.candidates[candidate].target;
    const struct mg_request *request = &relay->call.call->request;
    if (!relay->call.converse)
        return true;
    mg_view model = strcmp(target->model, "*") == 0 ? request->model : mg_view_cstr(target->model);
    const struct mg_model *known = mg_target_known(relay->call.route->config, target, model);
    uint32_t missing = known && known->input ? shown(relay) & ~known->input : 0;
    if (!missing)
        return true;
    const char *what = mg_modality_names[__builtin_ctz(missing)];
    mg_view field = mg_view_search(request->body, MG_VIEW("\"messages\"")) < request->body.len ? MG_VIEW("messages")
                    : mg_view_search(request->body, MG_VIEW("\"contents\"")) < request->body.len ? MG_VIEW("contents") : MG_VIEW("input");
    relay->unsayable = (struct mg_translation_report){
        .param = field, .message = mg_arena_printf(relay->call.call->arena, "hold %s, which %s does not read", what, known->name)};
    *out_text = mg_arena_printf(relay->call.call->arena, "%s does not read %s", known->name, what);
    return false;
}
