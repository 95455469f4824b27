#include "http/json_schema.h"

#include "base/mem.h"
#include "check.h"

static struct mg_schema_fault fault;

static struct mg_json *parse(const char *text)
{
    struct mg_json *value = NULL;
    CHECK_OK(mg_json_parse(mg_view_cstr(text), 1 << 20, &value, NULL));
    return value;
}

/* "" when the value is allowed, else "pointer text". */
static const char *verdict(const char *schema_text, const char *value_text, unsigned flags)
{
    static char out[600];
    struct mg_json *schema = parse(schema_text), *value = parse(value_text);
    bool allowed = mg_schema_allows(schema, value, flags, &fault);
    snprintf(out, sizeof out, "%s%s%s", allowed ? "" : fault.pointer, allowed ? "" : " ", allowed ? "" : fault.text);
    mg_json_free(schema);
    mg_json_free(value);
    return out;
}

TEST(every_keyword_holds_a_value_to_it)
{
    static const struct {
        const char *schema, *good, *bad, *says;
    } rows[] = {
        {"{\"type\":\"object\"}", "{}", "[]", " must be of type object, not array"},
        {"{\"type\":\"array\"}", "[]", "{}", " must be of type array, not object"},
        {"{\"type\":\"string\"}", "\"\"", "1", " must be of type string, not number"},
        {"{\"type\":\"boolean\"}", "false", "0", " must be of type boolean, not number"},
        {"{\"type\":\"null\"}", "null", "false", " must be of type null, not boolean"},
        {"{\"type\":\"integer\"}", "3.0", "3.5", " must be of type integer, not number"},
        {"{\"type\":\"number\"}", "1e3", "\"1\"", " must be of type number, not string"},
        {"{\"type\":[\"string\",\"null\"]}", "null", "1", " must be of type string or null, not number"},
        {"{\"enum\":[\"a\",2,[1,{\"b\":1}]]}", "[1,{\"b\":1}]", "[1,{\"b\":2}]", " is none of the values that are allowed"},
        {"{\"const\":{\"a\":1,\"b\":2}}", "{\"b\":2,\"a\":1}", "{\"a\":1}", " has a value that is not allowed"},
        {"{\"required\":[\"a\"]}", "{\"a\":null}", "{}", " lacks \"a\""},
        {"{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"b\":1}", "{\"a\":1}", "/a must be of type string, not number"},
        {"{\"properties\":{\"a\":{}},\"additionalProperties\":false}", "{\"a\":1}", "{\"a\":1,\"b\":2}", " has the unknown key \"b\""},
        {"{\"additionalProperties\":{\"type\":\"number\"}}", "{\"x\":1}", "{\"x\":true}", "/x must be of type number, not boolean"},
        {"{\"items\":{\"type\":\"object\",\"required\":[\"n\"]}}", "[{\"n\":1}]", "[{\"n\":1},{}]", "/1 lacks \"n\""},
        {"{\"items\":{\"properties\":{\"a/b~c\":{\"maximum\":3}}}}", "[{\"a/b~c\":3}]", "[{\"a/b~c\":4}]", "/0/a~1b~0c must be at most 3"},
        {"{\"minimum\":2}", "2", "1.5", " must be at least 2"},
        {"{\"exclusiveMinimum\":2}", "2.1", "2", " must be above 2"},
        {"{\"exclusiveMaximum\":2}", "1.9", "2", " must be below 2"},
        {"{\"minLength\":2}", "\"\xc3\xa4\xc3\xb6\"", "\"\xc3\xa4\"", " must be at least 2 characters long"},
        {"{\"maxLength\":1}", "\"\xf0\x9f\x98\x80\"", "\"ab\"", " must be at most 1 characters long"},
        {"{\"minItems\":1}", "[0]", "[]", " must be at least 1 items long"},
        {"{\"maxItems\":1}", "[0]", "[0,0]", " must be at most 1 items long"},
        {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}", "null", "1", " must fit one of 2 alternatives"},
        {"{\"oneOf\":[{\"minimum\":1},{\"maximum\":5}]}", "0", "3", " must fit exactly one of 2 alternatives"},
        {"{\"allOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}", "{\"a\":1,\"b\":1}", "{\"a\":1}", " lacks \"b\""},
        {"{\"$defs\":{\"n\":{\"type\":\"number\"}},\"properties\":{\"a\":{\"$ref\":\"#/$defs/n\"}}}", "{\"a\":1}", "{\"a\":\"1\"}",
         "/a must be of type number, not string"},
        {"{\"properties\":{\"next\":{\"$ref\":\"#\"}},\"required\":[\"v\"]}", "{\"v\":1,\"next\":{\"v\":2}}", "{\"v\":1,\"next\":{}}", "/next lacks \"v\""},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        CHECK_STR(verdict(rows[i].schema, rows[i].good, 0), "");
        CHECK_STR(verdict(rows[i].schema, rows[i].bad, 0), rows[i].says);
        CHECK_STR(verdict(rows[i].schema, rows[i].bad, MG_SCHEMA_LENIENT), rows[i].says);
    }
}

TEST(what_is_not_supported_fails_or_is_passed_over)
{
    CHECK_STR(verdict("{\"pattern\":\"x\"}", "\"y\"", 0), " has the schema keyword \"pattern\", which is not supported");
    CHECK_STR(verdict("{\"pattern\":\"x\"}", "\"y\"", MG_SCHEMA_LENIENT), "");
    CHECK_STR(verdict("{\"$ref\":\"https://a.example/s\"}", "1", 0), " has a $ref to something that is not in the schema");
    CHECK_STR(verdict("{\"$ref\":\"https://a.example/s\"}", "1", MG_SCHEMA_LENIENT), "");
    CHECK_STR(verdict("{\"minimum\":\"2\",\"required\":7,\"properties\":[],\"enum\":[1]}", "1", MG_SCHEMA_LENIENT), "");
}

TEST(a_lua_table_gets_defaults_and_an_empty_one_is_both)
{
    struct mg_json *schema = parse("{\"properties\":{\"a\":{\"default\":[1]},\"s\":{\"type\":\"string\",\"format\":\"secret-ref\"}}}");
    struct mg_json *value = parse("{\"s\":{\"$secret\":\"x\"}}");
    struct mg_buf text;
    mg_buf_init(&text, 1024);

    CHECK(mg_schema_allows(schema, value, MG_SCHEMA_LUA, &fault));
    CHECK_OK(mg_json_print(value, &text));

    CHECK_STR(mg_buf_cstr(&text), "{\"s\":{\"$secret\":\"x\"},\"a\":[1]}");
    CHECK_STR(verdict("{\"type\":\"array\"}", "{}", MG_SCHEMA_LUA), "");
    mg_buf_fini(&text);
    mg_json_free(schema);
    mg_json_free(value);
}

/* 2^64 ways through it: nobody may wait for them. */
TEST(a_schema_that_would_take_for_ever_is_given_up)
{
    static const char endless[] = "{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}";
    CHECK(verdict(endless, "1", 0)[0] != '\0');
    CHECK_STR(verdict(endless, "1", MG_SCHEMA_LENIENT), "");
}

TEST(a_pointer_that_is_too_long_is_cut)
{
    char schema[4096], value[4096];
    size_t at = 0, v = 0;
    for (int i = 0; i < 30; i++) {
        at += (size_t)snprintf(schema + at, sizeof schema - at, "{\"properties\":{\"key-number-%04d\":", i);
        v += (size_t)snprintf(value + v, sizeof value - v, "{\"key-number-%04d\":", i);
    }
    at += (size_t)snprintf(schema + at, sizeof schema - at, "{\"type\":\"string\"}");
    v += (size_t)snprintf(value + v, sizeof value - v, "1");
    for (int i = 0; i < 30; i++) {
        at += (size_t)snprintf(schema + at, sizeof schema - at, "}}");
        v += (size_t)snprintf(value + v, sizeof value - v, "}");
    }

    const char *got = verdict(schema, value, 0);

    CHECK(strncmp(got, "/key-number-0000/key-number-0001/", 33) == 0);
    CHECK(strstr(got, "must be of type string, not number") != NULL);
}

TEST(a_schema_of_ours_is_understood_or_the_place_is_named)
{
    static const struct {
        const char *schema, *says;
    } rows[] = {
        {"{\"type\":\"object\",\"title\":\"x\",\"properties\":{\"a\":{\"type\":[\"string\",\"null\"],\"enum\":[1]}},\"required\":{},"
         "\"additionalProperties\":false,\"items\":{\"$ref\":\"#/$defs/n\"},\"$defs\":{\"n\":{\"anyOf\":[{\"minimum\":1}]}}}", ""},
        {"[]", " must be a schema, which is a table"},
        {"{\"pattern\":\"x\"}", "/pattern is a keyword that is not supported here"},
        {"{\"properties\":{\"a\":{\"items\":{\"not\":{}}}}}", "/properties/a/items/not is a keyword that is not supported here"},
        {"{\"properties\":[]}", "/properties must be a table of schemas by name"},
        {"{\"required\":\"a\"}", "/required must be a list of names"},
        {"{\"required\":[1]}", "/required must be a list of names"},
        {"{\"enum\":1}", "/enum must be a list"},
        {"{\"minimum\":\"1\"}", "/minimum must be a number"},
        {"{\"type\":\"text\"}", "/type must be one of string, number, integer, boolean, null, array, object, or a list of them"},
        {"{\"type\":[\"string\",\"int\"]}", "/type has an entry that is no type"},
        {"{\"anyOf\":{}}", "/anyOf must be a list of schemas"},
        {"{\"anyOf\":[{},{\"if\":{}}]}", "/anyOf/1/if is a keyword that is not supported here"},
        {"{\"additionalProperties\":3}", "/additionalProperties must be a schema, which is a table"},
        {"{\"$ref\":\"#/$defs/a\"}", "/$ref must lead to a place in this schema, as \"#/$defs/name\""},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        char got[600];
        struct mg_json *schema = parse(rows[i].schema);
        bool understood = mg_schema_understood(schema, &fault);
        snprintf(got, sizeof got, "%s%s%s", understood ? "" : fault.pointer, understood ? "" : " ", understood ? "" : fault.text);
        mg_json_free(schema);
        CHECK_STR(got, rows[i].says);
    }
}

MG_TEST_MAIN()
