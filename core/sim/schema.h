/* schema.h - a value that satisfies a JSON Schema, for structured outputs and tool arguments.
 *
 * Understands what providers allow in strict mode and a little more: type, properties, required, items, prefixItems,
 * minItems, enum, const, anyOf, oneOf, allOf, $ref into the same document, string lengths and common formats, numeric
 * bounds and multipleOf. Required properties are always there; the others too while the value is small. Recursive
 * schemas end: depth and size are bounded. What it does not understand (pattern, not, if) it does not look at. */
#ifndef MG_SIM_SCHEMA_H
#define MG_SIM_SCHEMA_H

#include "http/json.h"

enum { MG_SIM_SCHEMA_NODES = 2000, MG_SIM_SCHEMA_DEPTH = 32 };

/* The caller's to free. schema NULL is the schema that allows anything: {}. */
struct mg_json *mg_sim_satisfy(const struct mg_json *schema, uint64_t seed);

#endif
