/* json_schema_fuzz.c - no schema and no value make the check crash, hang or answer without words; a schema that is understood
 * never fails for a keyword. The first line is the schema, the rest is the value. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/json_schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_, const char *what)
{
    if (!true_) {
        fputs(what, stderr);
        abort();
    }
}

/* Names from the document may stand in the words, so only their beginning is telling. */
static bool names_a_keyword(const char *text)
{
    static const char begin[] = "has the schema keyword \"";
    return strncmp(text, begin, sizeof begin - 1) == 0;
}

static void check(const struct mg_json *schema, struct mg_json *value)
{
    struct mg_schema_fault fault;
    bool understood = mg_schema_understood(schema, &fault);
    must(understood || fault.text[0], "a schema is refused without words\n");
    bool strict = mg_schema_allows(schema, value, 0, &fault);
    must(strict || fault.text[0], "a value is refused without words\n");
    must(strict || !understood || !names_a_keyword(fault.text), "an understood schema has an unknown keyword\n");
    bool lenient = mg_schema_allows(schema, value, MG_SCHEMA_LENIENT, &fault);
    must(lenient || fault.text[0], "a value is refused without words\n");
    must(strlen(fault.pointer) < sizeof fault.pointer, "a pointer has no end\n");
    (void)mg_schema_allows(schema, value, MG_SCHEMA_LUA, &fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mg_json *schema = NULL, *value = NULL;
    mg_view in = mg_view_of((const char *)data, size);
    mg_view line = mg_view_head(in, mg_view_find(in, "\n"));
    if (mg_json_parse(line, 65536, &schema, NULL) == MG_OK &&
        mg_json_parse(mg_view_skip(in, line.len + 1), 65536, &value, NULL) == MG_OK)
        check(schema, value);
    mg_json_free(schema);
    mg_json_free(value);
    return 0;
}
