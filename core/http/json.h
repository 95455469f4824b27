/* json.h - JSON trees: for plugins, simulators and the admin plane, never for the hot path.
 *
 * A tree is read strictly (json_scan.h decides validity; here a repeated key is refused in every
 * object, and so is the escape \u0000, which a tree cannot hold). Numbers keep their spelling, so
 * that 9007199254740993 and 1.0 are printed as they were read. Trees belong to one thread at a
 * time. Building never fails; sizes are bounded by whoever builds. */
#ifndef MG_HTTP_JSON_H
#define MG_HTTP_JSON_H

#include "http/json_scan.h"

struct mg_json;              /* a value; a container owns what is in it */

/* Whether a valid document can stand inside another one that everybody reads: it nests at most so deep, and has no \u0000
 * in its texts, which mg_json_parse() refuses. */
bool mg_json_can_be_part(mg_view doc, unsigned max_depth);

/* MG_E_BAD_REQUEST or MG_E_TOO_LARGE (doc longer than max_bytes) with *out_err filled when it is
 * not NULL; MG_E_MEMORY. *out is the caller's to free. */
MG_MUST_USE mg_err mg_json_parse(mg_view doc, size_t max_bytes, struct mg_json **out,
                                 struct mg_json_error *out_err);

/* Frees a value that is in no container. NULL is a no-op. */
void mg_json_free(struct mg_json *value);

/* Reading. Every function accepts NULL and answers as for a missing value, so that
 * mg_json_string(mg_json_get(mg_json_get(v, "a"), "b")) needs no checks on the way. Views are
 * borrowed and live as long as the value does. */
enum mg_json_type mg_json_type(const struct mg_json *value);  /* NULL: MG_JSON_NULL */
bool mg_json_is(const struct mg_json *value, enum mg_json_type type);        /* NULL: false */
struct mg_json *mg_json_get(const struct mg_json *object, const char *key);  /* NULL when absent */
struct mg_json *mg_json_at(const struct mg_json *array, size_t index);       /* linear */
struct mg_json *mg_json_path(const struct mg_json *value, const char *path); /* "choices[0].text" */
size_t mg_json_count(const struct mg_json *container);        /* linear */

/* for (v = mg_json_first(c); v; v = mg_json_next(v)) mg_json_key(v) … */
struct mg_json *mg_json_first(const struct mg_json *container);
struct mg_json *mg_json_next(const struct mg_json *value);
mg_view mg_json_key(const struct mg_json *member);            /* empty for elements */

mg_view mg_json_string(const struct mg_json *value);          /* ptr NULL when it is no string */
bool mg_json_bool(const struct mg_json *value, bool otherwise);
double mg_json_double(const struct mg_json *value, double otherwise);
bool mg_json_i64(const struct mg_json *value, int64_t *out_value);   /* exact integers only */
bool mg_json_is_integer(const struct mg_json *value);         /* spelt without '.', 'e' */

/* Building. */
struct mg_json *mg_json_new_null(void);
struct mg_json *mg_json_new_bool(bool value);
struct mg_json *mg_json_new_i64(int64_t value);
struct mg_json *mg_json_new_double(double value);             /* not finite becomes null */
struct mg_json *mg_json_new_string(mg_view text);   /* invalid UTF-8 and NUL become U+FFFD */
struct mg_json *mg_json_new_array(void);
struct mg_json *mg_json_new_object(void);
struct mg_json *mg_json_copy(const struct mg_json *value);    /* deep */

/* The container takes the item. add trusts that the key is new; set replaces. */
void mg_json_append(struct mg_json *array, struct mg_json *item);
void mg_json_add(struct mg_json *object, mg_view key, struct mg_json *item);
void mg_json_set(struct mg_json *object, mg_view key, struct mg_json *item);
void mg_json_remove(struct mg_json *object, const char *key); /* frees; absent is a no-op */

/* Prints without blanks to the end of out; fails with what the buffer fails with. */
MG_MUST_USE mg_err mg_json_print(const struct mg_json *value, struct mg_buf *out);

#endif
