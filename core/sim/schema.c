#include "sim/schema.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim/text.h"

struct walk {
    const struct mg_json *root; /* where $ref points into */
    uint64_t random;
    int nodes; /* values made so far */
    int depth;
};

static struct mg_json *make(struct walk *walk, const struct mg_json *schema, mg_view name);
static struct mg_json *make_typed(struct walk *walk, const struct mg_json *schema, mg_view type,
                                  mg_view name);
static struct mg_json *make_object(struct walk *walk, const struct mg_json *schema);
static struct mg_json *make_array(struct walk *walk, const struct mg_json *schema, mg_view name);
static struct mg_json *make_string(struct walk *walk, const struct mg_json *schema, mg_view name);
static struct mg_json *make_number(struct walk *walk, const struct mg_json *schema, bool integer);
static struct mg_json *make_all_of(struct walk *walk, const struct mg_json *schema, mg_view name);
static const struct mg_json *follow(const struct walk *walk, const struct mg_json *schema);
static const struct mg_json *pick(struct walk *walk, const struct mg_json *choices);
static mg_view type_of(const struct mg_json *schema);
static bool is_required(const struct mg_json *schema, mg_view key);
static const char *word_for(struct walk *walk, mg_view name);

struct mg_json *mg_sim_satisfy(const struct mg_json *schema, uint64_t seed)
{
    struct walk walk = {.root = schema, .random = seed | 1};
    return make(&walk, schema, MG_VIEW("value"));
}

static struct mg_json *make(struct walk *walk, const struct mg_json *schema, mg_view name)
{
    schema = follow(walk, schema);
    walk->nodes++;
    if (!mg_json_is(schema, MG_JSON_OBJECT) || walk->depth >= MG_SIM_SCHEMA_DEPTH)
        return walk->depth ? mg_json_new_string(mg_view_cstr(word_for(walk, name)))
                           : mg_json_new_object();
    const struct mg_json *constant = mg_json_get(schema, "const");
    if (constant)
        return mg_json_copy(constant);
    const struct mg_json *one = pick(walk, mg_json_get(schema, "enum"));
    if (one)
        return mg_json_copy(one);

    walk->depth++;
    struct mg_json *value;
    if ((one = pick(walk, mg_json_get(schema, "anyOf"))) ||
        (one = pick(walk, mg_json_get(schema, "oneOf"))))
        value = make(walk, one, name);
    else if (mg_json_count(mg_json_get(schema, "allOf")))
        value = make_all_of(walk, schema, name);
    else
        value = make_typed(walk, schema, type_of(schema), name);
    walk->depth--;
    return value;
}

static struct mg_json *make_typed(struct walk *walk, const struct mg_json *schema, mg_view type,
                                  mg_view name)
{
    if (mg_view_eq(type, MG_VIEW("object")))
        return make_object(walk, schema);
    if (mg_view_eq(type, MG_VIEW("array")))
        return make_array(walk, schema, name);
    if (mg_view_eq(type, MG_VIEW("integer")) || mg_view_eq(type, MG_VIEW("number")))
        return make_number(walk, schema, mg_view_eq(type, MG_VIEW("integer")));
    if (mg_view_eq(type, MG_VIEW("boolean")))
        return mg_json_new_bool(mg_sim_random(&walk->random) & 1);
    if (mg_view_eq(type, MG_VIEW("null")))
        return mg_json_new_null();
    return make_string(walk, schema, name);
}

/* Properties that are not required are left out once the value grows, which ends recursive schemas.
 */
static struct mg_json *make_object(struct walk *walk, const struct mg_json *schema)
{
    struct mg_json *object = mg_json_new_object();
    const struct mg_json *properties = mg_json_get(schema, "properties");
    for (const struct mg_json *each = mg_json_first(properties); each; each = mg_json_next(each)) {
        mg_view key = mg_json_key(each);
        bool small = walk->depth < 4 && walk->nodes < 64;
        if (small || (is_required(schema, key) && walk->nodes < MG_SIM_SCHEMA_NODES))
            mg_json_set(object, key, make(walk, each, key));
    }
    return object;
}

static struct mg_json *make_array(struct walk *walk, const struct mg_json *schema, mg_view name)
{
    struct mg_json *array = mg_json_new_array();
    const struct mg_json *prefix = mg_json_get(schema, "prefixItems");
    double least = mg_json_double(mg_json_get(schema, "minItems"), 0);
    double most = mg_json_double(mg_json_get(schema, "maxItems"), 64);
    double want = walk->depth < 6 && walk->nodes < 64 ? MG_MAX(least, MG_MIN(2.0, most)) : least;
    size_t count = mg_json_count(prefix);
    for (const struct mg_json *each = mg_json_first(prefix); each; each = mg_json_next(each))
        mg_json_append(array, make(walk, each, name));
    for (; (double)count < want && walk->nodes < MG_SIM_SCHEMA_NODES; count++)
        mg_json_append(array, make(walk, mg_json_get(schema, "items"), name));
    return array;
}

static struct mg_json *make_string(struct walk *walk, const struct mg_json *schema, mg_view name)
{
    static const struct {
        const char *format, *value;
    } formats[] = {
        {"date-time", "2026-01-31T09:30:00Z"},
        {"date", "2026-01-31"},
        {"time", "09:30:00Z"},
        {"duration", "PT15M"},
        {"email", "ada@example.com"},
        {"hostname", "example.com"},
        {"ipv4", "192.0.2.7"},
        {"ipv6", "2001:db8::7"},
        {"uri", "https://example.com/a"},
        {"uuid", "6f1c2a9e-5b7d-4c3e-8f10-2a4b6c8d0e1f"},
    };
    mg_view format = mg_json_string(mg_json_get(schema, "format"));
    for (size_t i = 0; i < MG_COUNT(formats); i++) {
        if (mg_view_eq(format, mg_view_cstr(formats[i].format)))
            return mg_json_new_string(mg_view_cstr(formats[i].value));
    }
    char text[1024];
    size_t len = (size_t)snprintf(text, sizeof(text), "%s", word_for(walk, name));
    double least = mg_json_double(mg_json_get(schema, "minLength"), 0);
    double most = mg_json_double(mg_json_get(schema, "maxLength"), sizeof(text));
    while ((double)len < least && len < sizeof(text) - 1)
        text[len++] = 'a';
    return mg_json_new_string(
        mg_view_of(text, (double)len > most ? (size_t)MG_MAX(most, 0.0) : len));
}

static struct mg_json *make_number(struct walk *walk, const struct mg_json *schema, bool integer)
{
    double low = mg_json_double(mg_json_get(schema, "minimum"), -INFINITY);
    double high = mg_json_double(mg_json_get(schema, "maximum"), INFINITY);
    double above = mg_json_double(mg_json_get(schema, "exclusiveMinimum"), -INFINITY);
    double below = mg_json_double(mg_json_get(schema, "exclusiveMaximum"), INFINITY);
    double step = mg_json_double(mg_json_get(schema, "multipleOf"), integer ? 1 : 0.5);
    double value = step * (double)(1 + mg_sim_random(&walk->random) % 20);
    if (!(step > 0))
        step = 1;
    if (value < low || value <= above)
        value = step * ceil(MG_MAX(low, above) / step) +
                (step * ceil(MG_MAX(low, above) / step) <= above ? step : 0);
    if (value > high || value >= below)
        value = step * floor(MG_MIN(high, below) / step) -
                (step * floor(MG_MIN(high, below) / step) >= below ? step : 0);
    if ((value < low || value <= above) && !integer)
        value = (MG_MAX(low, above) + MG_MIN(high, below)) / 2; /* a gap narrower than a step */
    return integer && fabs(value) < 9e15 ? mg_json_new_i64((int64_t)value)
                                         : mg_json_new_double(value);
}

/* Objects that satisfy each part, put together; the schema's own keywords count as a part. */
static struct mg_json *make_all_of(struct walk *walk, const struct mg_json *schema, mg_view name)
{
    struct mg_json *whole = make_typed(walk, schema, type_of(schema), name);
    const struct mg_json *parts = mg_json_get(schema, "allOf");
    for (const struct mg_json *each = mg_json_first(parts); each; each = mg_json_next(each)) {
        struct mg_json *part = make(walk, each, name);
        if (!mg_json_is(part, MG_JSON_OBJECT) || !mg_json_is(whole, MG_JSON_OBJECT)) {
            mg_json_free(whole);
            whole = part;
            continue;
        }
        for (const struct mg_json *member = mg_json_first(part); member;
             member = mg_json_next(member))
            mg_json_set(whole, mg_json_key(member), mg_json_copy(member));
        mg_json_free(part);
    }
    return whole;
}

/* "#", "#/$defs/name", "#/definitions/name": at most as many in a row as the depth allows. */
static const struct mg_json *follow(const struct walk *walk, const struct mg_json *schema)
{
    for (int hops = 0; hops < MG_SIM_SCHEMA_DEPTH; hops++) {
        mg_view ref = mg_json_string(mg_json_get(schema, "$ref"));
        if (!mg_view_starts(ref, MG_VIEW("#")))
            return schema;
        const struct mg_json *at = walk->root;
        mg_view rest = mg_view_skip(ref, 1);
        mg_view_cut(&rest, '/');
        while (rest.len && at) {
            char key[256];
            mg_view step = mg_view_cut(&rest, '/');
            snprintf(key, sizeof(key), "%.*s", MG_FMT(step));
            at = mg_json_get(at, key);
        }
        schema = at;
    }
    return NULL;
}

/* The first that is not null, so that optional values are there; deep down the last, which is often
 * the way out. */
static const struct mg_json *pick(struct walk *walk, const struct mg_json *choices)
{
    size_t count = mg_json_count(choices);
    if (!count)
        return NULL;
    if (walk->depth > 6 || walk->nodes > 256)
        return mg_json_at(choices, count - 1);
    return mg_json_at(choices, 0);
}

static mg_view type_of(const struct mg_json *schema)
{
    const struct mg_json *type = mg_json_get(schema, "type");
    if (mg_json_is(type, MG_JSON_ARRAY))
        type = mg_json_first(type);
    if (type)
        return mg_json_string(type);
    if (mg_json_get(schema, "properties"))
        return MG_VIEW("object");
    return mg_json_get(schema, "items") ? MG_VIEW("array") : MG_VIEW("string");
}

static bool is_required(const struct mg_json *schema, mg_view key)
{
    const struct mg_json *required = mg_json_get(schema, "required");
    for (const struct mg_json *each = mg_json_first(required); each; each = mg_json_next(each)) {
        if (mg_view_eq(mg_json_string(each), key))
            return true;
    }
    return false;
}

static const char *word_for(struct walk *walk, mg_view name)
{
    static const char *const cities[] = {"Lisbon", "Paris", "Osaka", "Bergen"};
    static const char *const people[] = {"Ada", "Grace", "Edsger", "Barbara"};
    static const char *const words[] = {"harbour", "lantern", "tide",   "compass",
                                        "anchor",  "signal",  "bridge", "meadow"};
    uint64_t at = mg_sim_random(&walk->random);
    if (mg_view_search(name, MG_VIEW("city")) < name.len ||
        mg_view_search(name, MG_VIEW("location")) < name.len)
        return cities[at % MG_COUNT(cities)];
    if (mg_view_search(name, MG_VIEW("name")) < name.len)
        return people[at % MG_COUNT(people)];
    return words[at % MG_COUNT(words)];
}
