/* Tool calls of an answer: which piece belongs to which call, and whether the arguments are JSON in the end.
 *
 * A call is numbered by what its pieces say, by the block of the answer that the event is about, or by its place in the
 * list. Vendors that send whole calls without numbers begin at place 0 again: a name at a place that is not behind the
 * last one begins a new list, and its numbers go on from there. */
#include <limits.h>

#include "base/mem.h"
#include "chat/tap_parts.h"

bool mg_hit_small_number(const struct mg_json_hit *hit, int *out_number)
{
    uint64_t number;
    if (hit->type != MG_JSON_NUMBER || !mg_json_span_u64(hit->value, &number) || number > INT_MAX)
        return false;
    *out_number = (int)number;
    return true;
}

/* The piece that a hit inside a tool call belongs to; NULL: there are too many. */
static struct mg_tool_piece *piece_of(struct mg_look *look, const struct mg_json_hit *hit)
{
    size_t depth = look->set->depth[hit->path];
    int choice = mg_look_choice(look, hit);
    int call = hit->index_count > depth ? (int)hit->index[depth] : -1;
    for (int i = 0; i < look->tool_count; i++)
        if (look->tools[i].choice_place == choice && look->tools[i].call_place == call)
            return &look->tools[i];
    if (look->tool_count == MG_LOOK_TOOLS)
        return NULL;
    look->tools[look->tool_count] = (struct mg_tool_piece){.choice_place = choice, .call_place = call, .index = -1};
    return &look->tools[look->tool_count++];
}

void mg_look_tool(struct mg_look *look, enum mg_meaning meaning, const struct mg_json_hit *hit)
{
    struct mg_tool_piece *piece = piece_of(look, hit);
    if (!piece) {
        if (look->event)
            look->event->more_tools = look->event->lost_tools = true;
    } else if (meaning == MG_IS_TOOL_INDEX) {
        (void)mg_hit_small_number(hit, &piece->index);
    } else if (meaning == MG_IS_TOOL_ID || meaning == MG_IS_TOOL_NAME) {
        if (mg_hit_has_bytes(hit))
            *(meaning == MG_IS_TOOL_ID ? &piece->id : &piece->name) = hit->value;
    } else if (hit->type != MG_JSON_NULL) {
        piece->arguments = hit->value;
    }
}

static bool is_string(mg_view span)
{
    return span.len > 0 && span.ptr[0] == '"';
}

/* No arguments at all are as good as "{}". */
static bool arguments_are_json(const struct mg_json_pieces *arguments)
{
    return mg_json_pieces_complete(arguments) || mg_json_pieces_empty(arguments);
}

static struct mg_tap_call *call_of(struct mg_tap *tap, int choice, int index)
{
    for (int i = 0; i < tap->call_count; i++)
        if (tap->calls[i].choice == choice && tap->calls[i].index == index)
            return &tap->calls[i];
    if (tap->call_count == MG_TAP_CALLS)
        return NULL;
    struct mg_tap_call *call = &tap->calls[tap->call_count++];
    *call = (struct mg_tap_call){.choice = choice, .index = index};
    return call;
}

/* Some vendors send whole calls, one after the other, without numbers: a name after complete arguments begins a new one. */
static void follow_call(struct mg_tap *tap, const struct mg_tool_piece *piece, int choice, int index)
{
    struct mg_tap_call *call = call_of(tap, choice, index);
    if (!call)
        return;
    if (piece->name.len && mg_json_pieces_complete(&call->arguments))
        call->arguments = (struct mg_json_pieces){.depth = 0};
    if (is_string(piece->arguments))
        (void)mg_json_pieces_feed_string(&call->arguments, piece->arguments);
    else
        (void)mg_json_pieces_feed(&call->arguments, piece->arguments);
}

static uint64_t bit_of(int number)
{
    return UINT64_C(1) << MG_MIN(number, 63);
}

static int number_unsaid(struct mg_tap *tap, const struct mg_tool_piece *piece)
{
    int place = MG_MAX(piece->call_place, 0);
    if (piece->name.len) {
        if (place < tap->call_places)
            tap->call_base = tap->call_total;
        tap->call_places = place + 1;
    }
    int number = tap->call_base + place;
    tap->call_total = MG_MAX(tap->call_total, number + 1);
    return number;
}

static void note_span(const struct mg_look *look, mg_view span, size_t *out_offset, size_t *out_len)
{
    if (span.len) {
        *out_offset = (size_t)(span.ptr - look->doc.ptr);
        *out_len = span.len;
    }
}

static void note_tool(const struct mg_look *look, const struct mg_tool_piece *piece, int choice, int index)
{
    struct mg_tap_event *event = look->event;
    bool whole = piece->arguments.len && piece->arguments.ptr[0] == '{';
    bool listed = piece->call_place >= 0 || look->set->blocks;
    bool odd = !listed || (piece->arguments.len && !whole && !is_string(piece->arguments));
    event->more_tools |= odd || whole || event->tool_count == MG_TAP_TOOLS;
    event->lost_tools |= event->tool_count == MG_TAP_TOOLS;
    if (odd || event->tool_count == MG_TAP_TOOLS)
        return;
    struct mg_tap_tool *tool = &event->tools[event->tool_count++];
    *tool = (struct mg_tap_tool){.choice = choice, .index = index, .whole = whole};
    note_span(look, piece->id, &tool->id_offset, &tool->id_len);
    note_span(look, piece->name, &tool->name_offset, &tool->name_len);
    note_span(look, piece->arguments, &tool->arguments_offset, &tool->arguments_len);
}

/* Blocks that are no tool calls have arguments too: those of tools that the provider runs itself. */
static bool is_call(struct mg_look *look, const struct mg_tool_piece *piece, int block)
{
    if (piece->name.len)
        look->tap->tool_blocks |= bit_of(block);
    if (!(look->tap->tool_blocks & bit_of(block)))
        return false;
    bool says = piece->name.len || piece->arguments.len > 2;
    look->content |= says;
    look->useful |= says;
    return true;
}

void mg_look_follow_tools(struct mg_look *look)
{
    for (int i = 0; i < look->tool_count; i++) {
        const struct mg_tool_piece *piece = &look->tools[i];
        int choice = mg_look_number(look, piece->choice_place);
        int place = look->set->blocks ? MG_MAX(look->block, 0) : MG_MAX(piece->call_place, 0);
        if (look->set->blocks && !is_call(look, piece, place))
            continue;
        bool unsaid = piece->index < 0 && !look->set->blocks;
        int index = piece->index >= 0 ? piece->index : place;
        note_tool(look, piece, choice, unsaid ? number_unsaid(look->tap, piece) : index);
        follow_call(look->tap, piece, choice, index);
    }
}

/* Of the choices that end here: a length limit may cut arguments, nothing else. */
static bool ends_broken_calls(const struct mg_tap *tap, const struct mg_tap_event *event)
{
    for (int c = 0; c < tap->call_count; c++)
        for (int i = 0; i < event->finished_count; i++)
            if (tap->calls[c].choice == event->finished[i] && !arguments_are_json(&tap->calls[c].arguments))
                return true;
    return false;
}

bool mg_look_ends_broken_calls(const struct mg_look *look)
{
    if (look->event)
        return ends_broken_calls(look->tap, look->event);
    for (int i = 0; i < look->tool_count; i++) {
        struct mg_json_pieces pieces = {.depth = 0};
        mg_view arguments = look->tools[i].arguments;
        if (is_string(arguments) && (!mg_json_pieces_feed_string(&pieces, arguments) || !arguments_are_json(&pieces)))
            return true;
    }
    return false;
}
