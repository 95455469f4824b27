#include "relay/repair.h"

#include <ctype.h>

#include "chat/inner.h"
#include "relay/rows.h"

_Static_assert(MG_ADAPTER_REPAIRS <= 64, "a set of repairs is a bitmap");

struct mg_repair_memory {
    struct mg_row row;
    _Atomic uint64_t latest_us;        /* until which any repair is known: 0 for nearly all targets */
    _Atomic uint64_t until_us[MG_ADAPTER_REPAIRS];           /* by row of the declaration */
};

static struct mg_rows memories = {.size = sizeof(struct mg_repair_memory)};

struct mg_repair_memory *mg_repair_memory(mg_view scope, mg_view target)
{
    return mg_rows_find(&memories, scope, target);
}

mg_repairs mg_repair_known(struct mg_repair_memory *memory, uint64_t now_us)
{
    mg_repairs known = 0;
    if (!memory || atomic_load_explicit(&memory->latest_us, memory_order_relaxed) <= now_us)
        return 0;
    for (int i = 0; i < MG_ADAPTER_REPAIRS; i++)
        if (atomic_load_explicit(&memory->until_us[i], memory_order_relaxed) > now_us)
            known |= mg_repair_bit(i);
    return known;
}

static bool undoes(const struct mg_body_edit *a, const struct mg_body_edit *b)
{
    return a->op == MG_EDIT_RENAME && b->op == MG_EDIT_RENAME && strcmp(a->field, b->to) == 0 && strcmp(a->to, b->field) == 0;
}

void mg_repair_learn(struct mg_repair_memory *memory, const struct mg_adapter *adapter, int row, uint64_t now_us)
{
    const struct mg_adapter_decl *decl = mg_adapter_declaration(adapter);
    const struct mg_adapter_repair *repair = &decl->repairs[row];
    uint64_t until_us = now_us + (uint64_t)MG_REPAIR_TTL_S * 1000000;
    if (!memory || repair->once)
        return;
    for (int i = 0; i < decl->repair_count; i++)
        if (undoes(&decl->repairs[i].edit, &repair->edit))
            atomic_store_explicit(&memory->until_us[i], 0, memory_order_relaxed);
    atomic_store_explicit(&memory->until_us[row], until_us, memory_order_relaxed);
    atomic_store_explicit(&memory->latest_us, until_us, memory_order_relaxed);
}

static bool is_among(const struct mg_body_change *change, const struct mg_body_edit *edit)
{
    for (size_t i = 0; i < change->edit_count; i++)
        if (change->edits[i] == edit)
            return true;
    return false;
}

void mg_repair_fill(const struct mg_adapter *adapter, mg_repairs repairs, struct mg_body_change *change)
{
    const struct mg_adapter_decl *decl = mg_adapter_declaration(adapter);
    for (int i = 0; i < decl->edit_count && change->edit_count < MG_BODY_EDITS; i++)
        if (!is_among(change, &decl->edits[i]))
            change->edits[change->edit_count++] = &decl->edits[i];
    for (int i = 0; repairs && i < decl->repair_count; i++) {
        const struct mg_body_edit *edit = &decl->repairs[i].edit;
        if (repairs & mg_repair_bit(i) && change->edit_count < MG_BODY_EDITS && !is_among(change, edit))
            change->edits[change->edit_count++] = edit;
    }
}

/* ---- which one fits -------------------------------------------------------------------------- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The length of the field's name at the beginning of a text, 0: it does not stand there. "presencePenalty" is spelt so by
 * some; "max_tokens" does not stand in "max_tokens_total". */
static size_t name_length(const char *text, const char *field)
{
    const char *at = text;
    for (; *field; field++) {
        if (*field == '_' && *at != '_')
            continue;
        if (tolower((unsigned char)*at) != tolower((unsigned char)*field))
            return 0;
        at++;
    }
    return is_word(*at) ? 0 : (size_t)(at - text);
}

static bool names_field(const char *text, const char *field)
{
    for (const char *at = text; *at; at++)
        if ((at == text || !is_word(at[-1])) && name_length(at, field))
            return true;
    return false;
}

/* "response_format.json_schema" is about response_format; a param that names another field rules the message out. Members
 * inside a list are named by places that nobody foresees: "messages.1.reasoning_content". */
static bool is_about(const struct mg_tap *tap, const char *field)
{
    if (mg_inner_is_path(field))
        return names_field(tap->error_param, mg_inner_name(field)) || names_field(tap->error_message, mg_inner_name(field));
    if (!tap->error_param[0])
        return names_field(tap->error_message, field);
    size_t length = name_length(tap->error_param, field);
    return length > 0 && (!tap->error_param[length] || strchr(".[", tap->error_param[length]));
}

static bool is_code(mg_adapter_texts codes, const struct mg_tap *tap)
{
    for (; codes && *codes; codes++)
        if (strcmp(*codes, tap->error_code) == 0 || strcmp(*codes, tap->error_type) == 0)
            return true;
    return false;
}

static bool is_text(mg_adapter_texts texts, const struct mg_tap *tap)
{
    for (; texts && *texts; texts++)
        if (strcasestr(tap->error_message, *texts))
            return true;
    return false;
}

/* The attempt sent the field, and with another value than the repair would set. */
static bool changes_something(const struct mg_adapter_repair *repair, const struct mg_request *request,
                              const struct mg_body_change *change)
{
    if (mg_inner_is_path(repair->edit.field))
        return mg_inner_has(request, repair->edit.field);
    mg_view value = mg_request_sends(request, change, mg_view_cstr(repair->edit.field));
    return value.len > 0 && !(repair->edit.op == MG_EDIT_SET && mg_view_eq(value, mg_view_cstr(repair->edit.to)));
}

int mg_repair_find(const struct mg_adapter *adapter, int status, const struct mg_tap *tap, const struct mg_request *request,
                   const struct mg_body_change *change)
{
    const struct mg_adapter_decl *decl = mg_adapter_declaration(adapter);
    for (int i = 0; i < decl->repair_count; i++) {
        const struct mg_adapter_repair *repair = &decl->repairs[i];
        bool fits = (!repair->status || repair->status == status) && !is_among(change, &repair->edit) &&
                    (is_code(repair->codes, tap) || is_text(repair->texts, tap)) && is_about(tap, repair->edit.field);
        if (fits && change->edit_count < MG_BODY_EDITS && changes_something(repair, request, change))
            return i;
    }
    return -1;
}

mg_view mg_repair_name(const struct mg_adapter *adapter, int row)
{
    return row < 0 ? MG_VIEW_NONE : mg_view_cstr(mg_adapter_declaration(adapter)->repairs[row].name);
}
