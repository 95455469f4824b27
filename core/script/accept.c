#include "script/accept.h"

#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "config/config.h"
#include "http/json_schema.h"
#include "io/loop.h"

enum { SCHEMA_BYTES = 65536 };         /* of a client's schema: more is passed unchecked, and noted */

/* What the answer is held to; all NULL: nothing. */
struct expectation {
    struct mg_json *owner;             /* the document that `schema` is in */
    const struct mg_json *schema;
    bool object;                       /* any JSON object will do */
    unsigned flags;
};

static void expect_of_request(struct mg_call *call, struct expectation *out_expectation);

static void expect(struct mg_call *call, const char *schema, struct expectation *out_expectation)
{
    *out_expectation = (struct expectation){.flags = 0};
    if (strcmp(schema, "request") == 0) {
        expect_of_request(call, out_expectation);
        return;
    }
    mg_view text = mg_view_cstr(schema);
    if (mg_json_parse(text, text.len, &out_expectation->owner, NULL) == MG_OK)
        out_expectation->schema = out_expectation->owner;
}

/* `response_format` of the request: {type: "json_schema", json_schema: {schema}}, or {type: "json_object"}. */
static void expect_of_request(struct mg_call *call, struct expectation *out_expectation)
{
    mg_view format = mg_request_field(&call->request, MG_VIEW("response_format"));
    if (format.len > SCHEMA_BYTES) {
        uint64_t now_us = call->loop ? mg_loop_now_us(call->loop) : mg_mono_us();
        mg_timeline_note(call->timeline, now_us, "expect", "the request's schema is too large to be checked");
    } else if (format.len && mg_json_parse(format, SCHEMA_BYTES, &out_expectation->owner, NULL) == MG_OK) {
        const struct mg_json *root = out_expectation->owner;
        out_expectation->schema = mg_json_path(root, "json_schema.schema");
        out_expectation->object = mg_view_eq(mg_json_string(mg_json_get(root, "type")), MG_VIEW("json_object"));
        out_expectation->flags = MG_SCHEMA_LENIENT;
    }
}

/* Answers without a text of their own. */
static bool has_no_text(const struct mg_call *call, const struct mg_call_response *response)
{
    bool tools = mg_view_eq(response->finish, MG_VIEW("tool_calls")) || mg_view_eq(response->finish, MG_VIEW("function_call"));
    return (response->text.len == 0 && tools) || (call->surface && strcmp(call->surface, "embeddings") == 0);
}

static mg_err hold_to(const struct expectation *expectation, struct mg_call *call, mg_view text, mg_view *out_reason)
{
    struct mg_json *value = NULL;
    struct mg_json_error error = {0, ""};
    struct mg_schema_fault fault;
    if (mg_json_parse(text, MG_MAX_RESPONSE_BODY_BYTES, &value, &error) != MG_OK) {
        *out_reason = mg_arena_printf(call->arena, "the answer is not JSON: at byte %zu: %s", error.offset, error.reason);
        return MG_E_DENIED;
    }
    mg_err err = MG_OK;
    if (expectation->object && !mg_json_is(value, MG_JSON_OBJECT)) {
        *out_reason = MG_VIEW("the answer is JSON, but no object");
        err = MG_E_DENIED;
    } else if (expectation->schema && !mg_schema_allows(expectation->schema, value, expectation->flags, &fault)) {
        *out_reason = mg_arena_printf(call->arena, "the answer%s%s %s", *fault.pointer ? " at " : "", fault.pointer, fault.text);
        err = MG_E_DENIED;
    }
    mg_json_free(value);
    return err;
}

mg_err mg_accept_schema(struct mg_call *call, const struct mg_call_response *response, mg_view *out_reason)
{
    const char *schema = call->flow ? call->flow->expect_schema : NULL;
    struct expectation expectation;
    if (!schema || has_no_text(call, response))
        return MG_OK;
    expect(call, schema, &expectation);
    mg_err err = MG_OK;
    if (expectation.schema || expectation.object)
        err = hold_to(&expectation, call, response->text, out_reason);
    mg_json_free(expectation.owner);
    return err;
}
