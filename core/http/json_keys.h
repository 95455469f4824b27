/* json_keys.h - the keys seen in the objects a scan is inside of, to find duplicates; private to
 * core/http.
 *
 * Records of nested objects lie on one stack. An object of at most MG_JSON_FEW_KEYS is searched in
 * a row; a larger one moves to a map. Nothing is allocated for small documents. */
#ifndef MG_HTTP_JSON_KEYS_H
#define MG_HTTP_JSON_KEYS_H

#include "http/json_name.h"
#include "http/json_scan.h"

enum { MG_JSON_FEW_KEYS = 64, MG_JSON_INLINE_KEYS = 128 };

struct mg_json_key {
    struct mg_json_name name;          /* of the unescaped key; its text is not kept when escaped */
    mg_view string;          /* borrowed from the document, with its quotes; NULL: name.text is it */
};

/* One open object. */
struct mg_json_key_scope {
    size_t base;             /* its first record */
    struct mg_map *seen;     /* owned; all its keys once they are many, else NULL */
};

struct mg_json_keys {
    struct mg_json_key *records;       /* inlined or owned */
    size_t count;
    size_t cap;
    size_t mapped;           /* keys in maps of open objects */
    struct mg_buf added;     /* unescaped text of the key being added */
    struct mg_buf other;     /* and of the one it is compared with */
    struct mg_json_key inlined[MG_JSON_INLINE_KEYS];
};

void mg_json_keys_init(struct mg_json_keys *keys, size_t doc_len);
void mg_json_keys_fini(struct mg_json_keys *keys);

void mg_json_keys_open(struct mg_json_keys *keys, struct mg_json_key_scope *scope);
void mg_json_keys_close(struct mg_json_keys *keys, struct mg_json_key_scope *scope);

/* string is the key with its quotes; `end` is that of the document. MG_E_EXISTS when the object has
 * it already, MG_E_TOO_LARGE past MG_JSON_KEYS, MG_E_MEMORY. *out_name is borrowed until the next
 * call. */
MG_MUST_USE mg_err mg_json_keys_add(struct mg_json_keys *keys, struct mg_json_key_scope *scope, mg_view string,
                                    bool escaped, const char *end, struct mg_json_name *out_name);

#endif
