#include "chat/response_items.h"

#include "base/limits.h"
#include "base/mem.h"
#include "http/json_members.h"
#include "http/json_scan.h"

static mg_view object_of(mg_view body)
{
    return mg_view_skip(body, mg_view_find(body, "{"));
}

/* ---- input ------------------------------------------------------------------------------------- */

static mg_err put_message(struct mg_buf *out, mg_view text)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":")));
    MG_TRY(mg_buf_put(out, text));
    return mg_buf_put(out, MG_VIEW("}]}"));
}

mg_err mg_items_put_input(struct mg_buf *out, mg_view input)
{
    if (input.len && input.ptr[0] == '[')
        return mg_buf_put(out, input);
    MG_TRY(mg_buf_putc(out, '['));
    if (input.len && input.ptr[0] == '"')
        MG_TRY(put_message(out, input));
    return mg_buf_putc(out, ']');
}

size_t mg_items_count(mg_view array)
{
    struct mg_json_member m;
    size_t count = 0;
    for (size_t at = 0; mg_json_next_member(array, &at, &m);)
        count++;
    return count;
}

mg_view mg_items_tail(mg_view array, size_t count)
{
    struct mg_json_member m;
    size_t all = mg_items_count(array), index = 0;
    mg_view tail = MG_VIEW_NONE;
    for (size_t at = 0; mg_json_next_member(array, &at, &m); index++) {
        if (index + count < all)
            continue;
        if (!tail.len)
            tail = m.value;
        tail.len = (size_t)(m.value.ptr + m.value.len - tail.ptr);
    }
    return tail;
}

/* ---- telling it again -------------------------------------------------------------------------- */

static bool member_is(mg_view object, mg_view key, mg_view word)
{
    return mg_view_eq(mg_json_plain(mg_json_member(object, key)), word);
}

static bool has_any(mg_view object, mg_view key)
{
    mg_view value = mg_json_member(object, key);
    return value.len && value.ptr[0] != 'n' && !mg_json_span_is_empty(value);
}

/* Reasoning is of use as its vendor's cipher or as plain text; an id alone names what nobody keeps. */
static bool can_be_told(mg_view item)
{
    if (!member_is(item, MG_VIEW("type"), MG_VIEW("reasoning")))
        return true;
    mg_view cipher = mg_json_member(item, MG_VIEW("encrypted_content"));
    return (cipher.len > 2 && cipher.ptr[0] == '"') || has_any(item, MG_VIEW("content"));
}

/* "msg_" NAME "_0" in the response "resp_" NAME: that is how this gateway names items. No vendor knows them. */
static bool is_our_id(mg_view id, mg_view response_id)
{
    mg_view name = mg_view_starts(response_id, MG_VIEW("resp_")) ? mg_view_skip(response_id, 5) : response_id;
    size_t at = mg_view_find(id, "_") + 1;
    mg_view rest = mg_view_skip(id, at);
    return name.len && mg_view_starts(rest, name) && rest.len > name.len && rest.ptr[name.len] == '_';
}

/* A message and a call need no id. */
static bool may_lose_id(mg_view item)
{
    mg_view type = mg_json_plain(mg_json_member(item, MG_VIEW("type")));
    return mg_view_eq(type, MG_VIEW("message")) || mg_view_eq(type, MG_VIEW("function_call")) ||
           mg_view_eq(type, MG_VIEW("custom_tool_call"));
}

static mg_err put_without(struct mg_buf *out, mg_view object, mg_view key)
{
    struct mg_json_member m;
    bool any = false;
    MG_TRY(mg_buf_putc(out, '{'));
    for (size_t at = 0; mg_json_next_member(object, &at, &m);) {
        if (mg_view_eq(m.key, key))
            continue;
        if (any)
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(mg_buf_put(out, m.member));
        any = true;
    }
    return mg_buf_putc(out, '}');
}

static mg_err put_separated(struct mg_buf *out, size_t *count)
{
    return (*count)++ ? mg_buf_putc(out, ',') : MG_OK;
}

static mg_err put_answered(struct mg_buf *out, mg_view item, mg_view response_id, size_t *count)
{
    if (!can_be_told(item))
        return MG_OK;
    mg_view id = mg_json_plain(mg_json_member(item, MG_VIEW("id")));
    MG_TRY(put_separated(out, count));
    bool nameless = is_our_id(id, response_id) && may_lose_id(item);
    return nameless ? put_without(out, item, MG_VIEW("id")) : mg_buf_put(out, item);
}

static mg_err put_output(struct mg_buf *out, const struct mg_kept *kept, size_t *count)
{
    struct mg_json_member m;
    mg_view output = mg_json_member(kept->response, MG_VIEW("output"));
    for (size_t at = 0; mg_json_next_member(output, &at, &m);)
        MG_TRY(put_answered(out, m.value, kept->id, count));
    return MG_OK;
}

static mg_err put_elements(struct mg_buf *out, mg_view array, size_t *count)
{
    struct mg_json_member m;
    for (size_t at = 0; mg_json_next_member(array, &at, &m);) {
        MG_TRY(put_separated(out, count));
        MG_TRY(mg_buf_put(out, m.value));
    }
    return MG_OK;
}

static mg_err put_conversation(struct mg_buf *out, mg_view input, const struct mg_kept *kept, size_t kept_count, size_t *out_count)
{
    size_t count = 0;
    MG_TRY(mg_buf_put(out, MG_VIEW("\"input\":[")));
    for (size_t i = 0; i < kept_count; i++) {
        MG_TRY(put_elements(out, kept[i].input, &count));
        MG_TRY(put_output(out, &kept[i], &count));
    }
    *out_count = count;
    if (input.len && input.ptr[0] == '"') {
        MG_TRY(put_separated(out, &count));
        MG_TRY(put_message(out, input));
    } else {
        MG_TRY(put_elements(out, input, &count));
    }
    return mg_buf_putc(out, ']');
}

/* Fields are found by their place: a key may be spelt with escapes, and would be there twice if it were set once more. */
static mg_err put_field(struct mg_buf *out, const struct mg_request *request, const struct mg_json_member *m)
{
    if (m->value.ptr == request->store.ptr)
        return mg_buf_putf(out, "\"store\":%.*s", MG_FMT(m->value));
    if (m->value.ptr == request->include.ptr)
        return mg_buf_putf(out, "\"include\":%.*s", MG_FMT(m->value));
    return mg_buf_put(out, m->member);
}

bool mg_items_spelt_plainly(const struct mg_request *request)
{
    struct mg_json_member m;
    mg_view object = object_of(request->body);
    if (!request->store.len && !request->include.len)
        return true;
    for (size_t at = 0; mg_json_next_member(object, &at, &m);)
        if ((m.value.ptr == request->store.ptr && !mg_view_eq(m.key, MG_VIEW("store"))) ||
            (m.value.ptr == request->include.ptr && !mg_view_eq(m.key, MG_VIEW("include"))))
            return false;
    return true;
}

mg_err mg_items_put_request(struct mg_buf *out, const struct mg_request *request, const struct mg_kept *kept, size_t count,
                            size_t *out_count)
{
    struct mg_json_member m;
    mg_view object = object_of(request->body), input = request->messages_span;
    size_t members = 0;
    MG_TRY(mg_buf_putc(out, '{'));
    for (size_t at = 0; mg_json_next_member(object, &at, &m);) {
        if (m.value.ptr == request->previous.ptr || m.value.ptr == input.ptr)
            continue;
        MG_TRY(put_separated(out, &members));
        MG_TRY(put_field(out, request, &m));
    }
    MG_TRY(put_separated(out, &members));
    MG_TRY(put_conversation(out, input, kept, count, out_count));
    return mg_buf_putc(out, '}');
}

/* ---- items that are named ---------------------------------------------------------------------- */

bool mg_items_is_reference(mg_view item)
{
    return member_is(item, MG_VIEW("type"), MG_VIEW("item_reference"));
}

mg_err mg_items_references(const struct mg_request *request, struct mg_arena *arena, struct mg_item_reference **out_references,
                           size_t *out_count)
{
    *out_references = NULL;
    *out_count = 0;
    for (size_t i = 0; i < request->message_count; i++) {
        const struct mg_message *message = &request->messages[i];
        if (message->role.len || message->apart || !mg_items_is_reference(message->bytes))
            continue;
        if (*out_count == MG_MAX_RESPONSE_ITEMS)
            return MG_E_TOO_LARGE;
        if (!*out_references)
            *out_references = mg_arena_array(arena, struct mg_item_reference, MG_MAX_RESPONSE_ITEMS);
        (*out_references)[(*out_count)++] = (struct mg_item_reference){
            .place = message->bytes, .id = mg_json_plain(mg_json_member(message->bytes, MG_VIEW("id")))};
    }
    return MG_OK;
}

static mg_err put_resolved(struct mg_buf *out, mg_view input, const struct mg_item_reference *references, size_t count)
{
    struct mg_json_member m;
    size_t items = 0, next = 0;
    MG_TRY(mg_buf_putc(out, '['));
    for (size_t at = 0; mg_json_next_member(input, &at, &m);) {
        if (next < count && m.value.ptr == references[next].place.ptr) {
            MG_TRY(put_answered(out, references[next].item, references[next].response_id, &items));
            next++;
        } else {
            MG_TRY(put_separated(out, &items));
            MG_TRY(mg_buf_put(out, m.value));
        }
    }
    return mg_buf_putc(out, ']');
}

mg_err mg_items_put_referenced(struct mg_buf *out, const struct mg_request *request, const struct mg_item_reference *references, size_t count)
{
    mg_view body = request->body, input = request->messages_span;
    size_t before = (size_t)(input.ptr - body.ptr);
    MG_TRY(mg_buf_put(out, mg_view_head(body, before)));
    MG_TRY(put_resolved(out, input, references, count));
    return mg_buf_put(out, mg_view_skip(body, before + input.len));
}

mg_view mg_items_find(mg_view response, mg_view id)
{
    struct mg_json_member m;
    mg_view output = mg_json_member(response, MG_VIEW("output"));
    for (size_t at = 0; id.len && mg_json_next_member(output, &at, &m);)
        if (member_is(m.value, MG_VIEW("id"), id))
            return m.value;
    return MG_VIEW_NONE;
}

/* ---- a response object ------------------------------------------------------------------------- */

mg_err mg_response_put(struct mg_buf *out, mg_view response, mg_view previous)
{
    struct mg_json_member m;
    size_t members = 0;
    bool stored = false, follows = false;
    mg_view object = object_of(response);
    if (!previous.len)
        previous = MG_VIEW("null");
    MG_TRY(mg_buf_putc(out, '{'));
    for (size_t at = 0; mg_json_next_member(object, &at, &m);) {
        bool store = mg_view_eq(m.key, MG_VIEW("store")), follow = mg_view_eq(m.key, MG_VIEW("previous_response_id"));
        MG_TRY(put_separated(out, &members));
        if (store || follow)
            MG_TRY(mg_buf_putf(out, "\"%.*s\":%.*s", MG_FMT(m.key), MG_FMT(store ? MG_VIEW("true") : previous)));
        else
            MG_TRY(mg_buf_put(out, m.member));
        stored |= store;
        follows |= follow;
    }
    if (!follows)
        MG_TRY(mg_buf_putf(out, "%s\"previous_response_id\":%.*s", members++ ? "," : "", MG_FMT(previous)));
    if (!stored)
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"store\":true")));
    return mg_buf_putc(out, '}');
}

/* ---- pages ------------------------------------------------------------------------------------- */

struct entry {
    mg_view item;
    mg_view id;                        /* in the arena when we made it */
};

struct entries {
    struct mg_arena *arena;
    struct entry *items;
    size_t count;
};

static const char *prefix_of(mg_view item)
{
    mg_view type = mg_json_plain(mg_json_member(item, MG_VIEW("type")));
    if (!type.len || mg_view_eq(type, MG_VIEW("message")))
        return "msg";
    if (mg_view_eq(type, MG_VIEW("reasoning")))
        return "rs";
    return mg_view_starts(type, MG_VIEW("function_call")) ? "fc" : mg_view_starts(type, MG_VIEW("custom_tool_call")) ? "ctc" : "item";
}

/* An item that came without an id has one of its place. */
static void add_entries(struct entries *entries, const struct mg_kept *kept, mg_view array)
{
    struct mg_json_member m;
    mg_view name = mg_view_starts(kept->id, MG_VIEW("resp_")) ? mg_view_skip(kept->id, 5) : kept->id;
    for (size_t at = 0, index = 0; mg_json_next_member(array, &at, &m); index++) {
        mg_view id = mg_json_plain(mg_json_member(m.value, MG_VIEW("id")));
        if (!id.len)
            id = mg_arena_printf(entries->arena, "%s_%.*s_in%zu", prefix_of(m.value), MG_FMT(name), index);
        entries->items[entries->count++] = (struct entry){m.value, id};
    }
}

static void collect(struct entries *entries, const struct mg_kept *kept, size_t count)
{
    size_t all = 0;
    for (size_t i = 0; i < count; i++)
        all += mg_items_count(kept[i].input) + mg_items_count(mg_json_member(kept[i].response, MG_VIEW("output")));
    entries->items = mg_arena_array(entries->arena, struct entry, all + 1);
    for (size_t i = 0; i < count; i++) {
        add_entries(entries, &kept[i], kept[i].input);
        if (i + 1 < count)
            add_entries(entries, &kept[i], mg_json_member(kept[i].response, MG_VIEW("output")));
    }
}

static mg_err put_content(struct mg_buf *out, mg_view content, bool assistant)
{
    if (content.ptr[0] != '"')
        return mg_buf_putf(out, ",\"content\":%.*s", MG_FMT(content));
    MG_TRY(mg_buf_putf(out, ",\"content\":[{\"type\":\"%s\",\"text\":", assistant ? "output_text" : "input_text"));
    MG_TRY(mg_buf_put(out, content));
    return mg_buf_put(out, assistant ? MG_VIEW(",\"annotations\":[],\"logprobs\":[]}]") : MG_VIEW("}]"));
}

/* As OpenAI lists it: with an id, a type and a status, and the content of a message as parts. */
static mg_err put_entry(struct mg_buf *out, const struct entry *entry)
{
    struct mg_json_member m;
    mg_view type = mg_json_member(entry->item, MG_VIEW("type"));
    bool message = !type.len || mg_view_eq(mg_json_plain(type), MG_VIEW("message"));
    bool assistant = member_is(entry->item, MG_VIEW("role"), MG_VIEW("assistant"));
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"id\":\"")));
    MG_TRY(mg_buf_put_json(out, entry->id));
    MG_TRY(mg_buf_putf(out, "\",\"type\":%.*s", MG_FMT(type.len ? type : MG_VIEW("\"message\""))));
    if (message && !mg_json_member(entry->item, MG_VIEW("status")).len)
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"status\":\"completed\"")));
    for (size_t at = 0; mg_json_next_member(entry->item, &at, &m);) {
        if (mg_view_eq(m.key, MG_VIEW("id")) || mg_view_eq(m.key, MG_VIEW("type")))
            continue;
        if (message && mg_view_eq(m.key, MG_VIEW("content")))
            MG_TRY(put_content(out, m.value, assistant));
        else
            MG_TRY(mg_buf_putf(out, ",%.*s", MG_FMT(m.member)));
    }
    return mg_buf_putc(out, '}');
}

static const struct entry *entry_at(const struct entries *entries, const struct mg_items_page *page, size_t i)
{
    return &entries->items[page->ascending ? i : entries->count - 1 - i];
}

static bool find_start(const struct entries *entries, const struct mg_items_page *page, size_t *out_start)
{
    *out_start = 0;
    for (size_t i = 0; i < entries->count && page->after.len; i++) {
        if (!mg_view_eq(entry_at(entries, page, i)->id, page->after))
            continue;
        *out_start = i + 1;
        return true;
    }
    return !page->after.len;
}

static mg_err put_id(struct mg_buf *out, const char *name, const struct entry *entry)
{
    if (!entry)
        return mg_buf_putf(out, ",\"%s\":null", name);
    MG_TRY(mg_buf_putf(out, ",\"%s\":\"", name));
    MG_TRY(mg_buf_put_json(out, entry->id));
    return mg_buf_putc(out, '"');
}

mg_err mg_items_put_page(struct mg_buf *out, struct mg_arena *arena, const struct mg_kept *kept, size_t count,
                         const struct mg_items_page *page)
{
    struct entries entries = {.arena = arena};
    size_t start;
    collect(&entries, kept, count);
    if (!find_start(&entries, page, &start))
        return MG_E_NOT_FOUND;
    size_t end = MG_MIN(entries.count, start + page->limit);
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"object\":\"list\",\"data\":[")));
    for (size_t i = start; i < end; i++) {
        if (i > start)
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(put_entry(out, entry_at(&entries, page, i)));
    }
    MG_TRY(mg_buf_putc(out, ']'));
    MG_TRY(put_id(out, "first_id", start < end ? entry_at(&entries, page, start) : NULL));
    MG_TRY(put_id(out, "last_id", start < end ? entry_at(&entries, page, end - 1) : NULL));
    return mg_buf_putf(out, ",\"has_more\":%s}", end < entries.count ? "true" : "false");
}
