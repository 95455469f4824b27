/* json_schema.h - is a JSON value what a JSON Schema says it must be?
 *
 * A subset, checked as draft 2020-12 has it:
 *
 *   type properties required additionalProperties items enum const anyOf allOf oneOf $ref (inside the schema)
 *   minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength minItems maxItems
 *
 * Annotations (title, description, default, examples, format …) say nothing about a value. Schemas and values come from
 * strangers: work is bounded, and a check that would take longer is given up as passed when MG_SCHEMA_LENIENT, as
 * failed otherwise. */
#ifndef MG_HTTP_JSON_SCHEMA_H
#define MG_HTTP_JSON_SCHEMA_H

#include "http/json.h"

enum {
    MG_SCHEMA_LENIENT = 1,             /* keywords that are not supported are passed over; else they fail */
    MG_SCHEMA_LUA = 2,                 /* the value was a Lua table: an empty one is a list and an object, missing members
                                          get their `default`, and {"$secret":…} fits the format secret-ref */
};

struct mg_schema_fault {
    char pointer[256];                 /* JSON pointer of the place in the value (in the schema for mg_schema_understood);
                                          "": the whole; cut to size */
    char text[256];                    /* what was expected there: "must be of type string, not number" */
};

/* The value is changed by MG_SCHEMA_LUA only. false: *out_fault says where and why. */
bool mg_schema_allows(const struct mg_json *schema, struct mg_json *value, unsigned flags, struct mg_schema_fault *out_fault);

/* A schema of ours: every keyword is supported and its value has the right shape. false: *out_fault says which is not. */
bool mg_schema_understood(const struct mg_json *schema, struct mg_schema_fault *out_fault);

#endif
