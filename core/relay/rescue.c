/* What was sent is kept as outputs: one for each text a client puts together by itself, so that every event of a new
 * attempt can be held against them piece by piece, however either stream was cut.
 *
 *    sent     output (choice 0, content)  "The answer is fo"
 *    new      event 1 "The ans"           matched 7 of 16     suppressed
 *             event 2 "wer is forty"      matched 16 of 16    handed on with "rty" for its text
 *             event 3 "-two"              nothing to match    handed on as it came
 *
 * An event is judged whole before anything changes: something new of a choice may only come when all that was sent of
 * that choice was seen again, in this event at the latest. So a choice whose thinking turned out shorter, or which ends
 * early, diverges before a byte of it is handed on.
 *
 * Members that a client must get once (role; id and type of a tool call that it knows) are cut from what is handed on,
 * because clients put deltas together by appending. They are looked for beside the members that the adapter declares.
 * `id` and `created` stay those of the first event; `model` stays as it comes and tells who speaks. */
#include "relay/rescue.h"

#include "base/limits.h"
#include "base/mem.h"
#include "http/json_members.h"

enum {
    CHOICES = 8,
    OUTPUTS = 48,
    PIECES = MG_TAP_TEXTS + 2 * MG_TAP_TOOLS,
    HITS = 16,                         /* members of one event that are cut or replaced */
    SPLICES = PIECES + HITS,
    KNOWN_BYTES = 256,                 /* of an id that is kept */
    ROOM_BYTES = 4 * MG_MAX_SSE_EVENT_BYTES      /* of a rewritten event: escapes may be spelt longer */
};

enum kind { CONTENT, REASONING, NAME, ARGUMENTS };

/* One text the client puts together. Every tool call has both a name and arguments, perhaps empty. */
struct output {
    enum kind kind;
    int choice;
    int call;                          /* index of the tool call; 0 of texts */
    bool own;                          /* begun by the attempt that is running, not by an earlier one */
    struct mg_buf sent;                /* decoded */
    size_t matched;                    /* that the new attempt said again */
};

struct choice {
    int number;
    bool finished;                     /* its finish reason was sent */
};

enum meaning { IS_ID, IS_CREATED, IS_ROLE, IS_CALL_ONCE, IS_CALL };

/* Where an adapter's events have what a client must get once. */
struct places {
    const struct mg_adapter *adapter;  /* borrowed; NULL: nothing compiled yet */
    struct mg_json_paths *paths;       /* owned; NULL: such paths do not compile */
    const char *texts[MG_JSON_PATHS];  /* in the arena */
    uint8_t meaning[MG_JSON_PATHS];
    size_t count;
};

struct mg_rescue {
    struct mg_arena *arena;            /* borrowed: the exchange's */
    enum { RECORDING, MATCHING, FLOWING, DIVERGED } state;
    bool lost;                         /* more or something else was sent than can be kept */
    bool tools;
    uint64_t bytes;
    struct output outputs[OUTPUTS];
    int output_count;
    struct choice choices[CHOICES];
    int choice_count;
    bool named;                        /* id and created were looked for */
    mg_view id, created;               /* JSON, in the arena; empty: not known */
    struct places places;
    struct mg_buf text;                /* decoded texts of the event that is looked at */
    struct mg_buf quoted, data, raw;   /* of the event that is handed on */
};

/* A text of one event. */
struct piece {
    enum kind kind;
    int choice, call;
    size_t offset, len;                /* of the JSON string in the event; len 0: it is not there */
    size_t from, bytes;                /* decoded, in rescue->text */
    size_t known;                      /* bytes of it that were sent already */
    struct output *output;             /* NULL: nothing of it was sent */
};

struct look {
    struct mg_rescue *rescue;
    const struct mg_sse_event *event;
    const struct mg_tap_event *seen;
    struct piece pieces[PIECES];
    int count;
    struct mg_json_hit hits[HITS];     /* in document order */
    uint8_t meaning[HITS];
    size_t hit_count;
    size_t call_from;                  /* first hit of the tool call that is being read */
    bool too_many;
};

static void free_buffers(void *arg)
{
    struct mg_rescue *rescue = arg;
    for (int i = 0; i < rescue->output_count; i++)
        mg_buf_fini(&rescue->outputs[i].sent);
    mg_json_paths_free(rescue->places.paths);
    mg_buf_fini(&rescue->text);
    mg_buf_fini(&rescue->quoted);
    mg_buf_fini(&rescue->data);
    mg_buf_fini(&rescue->raw);
}

struct mg_rescue *mg_rescue_new(struct mg_arena *arena)
{
    struct mg_rescue *rescue = mg_arena_new(arena, struct mg_rescue);
    rescue->arena = arena;
    mg_buf_init(&rescue->text, ROOM_BYTES);
    mg_buf_init(&rescue->quoted, 2 * (size_t)ROOM_BYTES);
    mg_buf_init(&rescue->data, ROOM_BYTES);
    mg_buf_init(&rescue->raw, 2 * (size_t)ROOM_BYTES);
    mg_arena_cleanup(arena, free_buffers, rescue);
    return rescue;
}

bool mg_rescue_possible(const struct mg_rescue *rescue)
{
    return !rescue->lost;
}

bool mg_rescue_has_tools(const struct mg_rescue *rescue)
{
    return rescue->tools;
}

uint64_t mg_rescue_bytes(const struct mg_rescue *rescue)
{
    return rescue->bytes;
}

bool mg_rescue_matching(const struct mg_rescue *rescue)
{
    return rescue->state == MATCHING || rescue->state == DIVERGED;
}

/* ---- what was sent --------------------------------------------------------------------------- */

static struct output *find_output(struct mg_rescue *rescue, enum kind kind, int choice, int call)
{
    for (int i = 0; i < rescue->output_count; i++) {
        struct output *output = &rescue->outputs[i];
        if (output->kind == kind && output->choice == choice && output->call == call)
            return output;
    }
    return NULL;
}

static struct output *need_output(struct mg_rescue *rescue, enum kind kind, int choice, int call)
{
    struct output *output = find_output(rescue, kind, choice, call);
    if (output || rescue->output_count == OUTPUTS)
        return output;
    output = &rescue->outputs[rescue->output_count++];
    *output = (struct output){.kind = kind, .choice = choice, .call = call, .own = rescue->state != RECORDING};
    mg_buf_init(&output->sent, MG_MAX_RESUMED_BYTES);
    return output;
}

static struct choice *find_choice(struct mg_rescue *rescue, int number)
{
    for (int i = 0; i < rescue->choice_count; i++)
        if (rescue->choices[i].number == number)
            return &rescue->choices[i];
    return NULL;
}

static struct choice *need_choice(struct mg_rescue *rescue, int number)
{
    struct choice *choice = find_choice(rescue, number);
    if (choice || rescue->choice_count == CHOICES)
        return choice;
    choice = &rescue->choices[rescue->choice_count++];
    *choice = (struct choice){.number = number};
    return choice;
}

/* Adds a JSON string of an event; `span` may be empty. */
static mg_err keep_text(struct mg_rescue *rescue, enum kind kind, int choice, int call, mg_view span)
{
    struct output *output = need_output(rescue, kind, choice, call);
    if (!output || !need_choice(rescue, choice))
        return MG_E_TOO_LARGE;
    bool followed = output->matched == output->sent.len;
    size_t before = output->sent.len;
    if (span.len)
        MG_TRY(mg_json_unescape(span, &output->sent));
    rescue->bytes += output->sent.len - before;
    if (followed)
        output->matched = output->sent.len;
    return rescue->bytes <= MG_MAX_RESUMED_BYTES ? MG_OK : MG_E_TOO_LARGE;
}

static mg_view span_of(mg_view data, size_t offset, size_t len)
{
    return len ? mg_view_of(data.ptr + offset, len) : MG_VIEW_NONE;
}

static mg_err keep_tool(struct mg_rescue *rescue, mg_view data, const struct mg_tap_tool *tool)
{
    rescue->tools = true;
    MG_TRY(keep_text(rescue, NAME, tool->choice, tool->index, span_of(data, tool->name_offset, tool->name_len)));
    return keep_text(rescue, ARGUMENTS, tool->choice, tool->index, span_of(data, tool->arguments_offset, tool->arguments_len));
}

/* Content that is neither text nor a tool call cannot be said again in the same words. */
static bool comparable(const struct mg_tap_event *seen)
{
    bool nothing_told = seen->content && seen->text_count == 0 && seen->tool_count == 0;
    return !seen->refusal && !seen->more_text && !seen->more_tools && !nothing_told;
}

static mg_err keep_event(struct mg_rescue *rescue, mg_view data, const struct mg_tap_event *seen)
{
    if (!comparable(seen))
        return MG_E_TOO_LARGE;
    for (int i = 0; i < seen->text_count; i++) {
        const struct mg_tap_text *text = &seen->texts[i];
        MG_TRY(keep_text(rescue, text->reasoning ? REASONING : CONTENT, text->choice, 0, span_of(data, text->offset, text->len)));
    }
    for (int i = 0; i < seen->tool_count; i++)
        MG_TRY(keep_tool(rescue, data, &seen->tools[i]));
    for (int i = 0; i < seen->finished_count; i++) {
        struct choice *choice = need_choice(rescue, seen->finished[i]);
        if (!choice)
            return MG_E_TOO_LARGE;
        choice->finished = true;
    }
    return MG_OK;
}

static mg_view member_of(mg_view data, mg_view key)
{
    return mg_json_member(mg_view_skip(data, mg_view_find(data, "{")), key);
}

/* The first event that says something also says what the answer is called. */
static void keep_name(struct mg_rescue *rescue, mg_view data)
{
    mg_view id = member_of(data, MG_VIEW("id")), created = member_of(data, MG_VIEW("created"));
    rescue->named = true;
    if (id.len > 2 && id.len <= KNOWN_BYTES)
        rescue->id = mg_arena_dup(rescue->arena, id);
    if (created.len && created.len <= KNOWN_BYTES)
        rescue->created = mg_arena_dup(rescue->arena, created);
}

/* While an attempt is being matched its texts are still needed; before that nothing will be. */
static void lose(struct mg_rescue *rescue)
{
    rescue->lost = true;
    if (rescue->state != RECORDING)
        return;
    for (int i = 0; i < rescue->output_count; i++)
        mg_buf_fini(&rescue->outputs[i].sent);
    rescue->output_count = 0;
}

mg_err mg_rescue_record(struct mg_rescue *rescue, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    if (rescue->lost || event->is_comment || seen->malformed || seen->done)
        return MG_OK;
    if (!rescue->named && (seen->content || seen->text_count > 0))
        keep_name(rescue, event->data);
    mg_err err = keep_event(rescue, event->data, seen);
    if (err != MG_OK)
        lose(rescue);
    return err;
}

/* ---- a new attempt --------------------------------------------------------------------------- */

/* Everything of a choice (-1: of all) that was sent was seen again. */
static bool settled(const struct mg_rescue *rescue, int choice)
{
    for (int i = 0; i < rescue->output_count; i++) {
        const struct output *output = &rescue->outputs[i];
        if ((choice < 0 || output->choice == choice) && output->matched < output->sent.len)
            return false;
    }
    return true;
}

static void disown(struct mg_rescue *rescue)
{
    for (int i = 0; i < rescue->output_count; i++)
        rescue->outputs[i].own = false;
}

void mg_rescue_regenerate(struct mg_rescue *rescue)
{
    disown(rescue);
    for (int i = 0; i < rescue->output_count; i++)
        rescue->outputs[i].matched = 0;
    rescue->state = settled(rescue, -1) ? FLOWING : MATCHING;
}

void mg_rescue_prefill(struct mg_rescue *rescue)
{
    disown(rescue);
    for (int i = 0; i < rescue->output_count; i++)
        rescue->outputs[i].matched = rescue->outputs[i].sent.len;
    rescue->state = FLOWING;
}

static enum mg_resume_step diverge(struct mg_rescue *rescue)
{
    rescue->state = DIVERGED;
    return MG_RESUME_DIVERGED;
}

/* ---- reading an event ------------------------------------------------------------------------ */

static bool add_place(struct mg_rescue *rescue, mg_view path, enum meaning meaning)
{
    struct places *places = &rescue->places;
    for (size_t i = 0; i < places->count; i++)
        if (mg_view_eq(mg_view_cstr(places->texts[i]), path))
            return true;
    if (places->count == MG_JSON_PATHS)
        return false;
    places->texts[places->count] = mg_arena_dup(rescue->arena, path).ptr;
    places->meaning[places->count++] = (uint8_t)meaning;
    return true;
}

/* "choices[*].delta.content" → "choices[*].delta.role" */
static bool add_beside(struct mg_rescue *rescue, const mg_adapter_paths paths, const char *key)
{
    for (int i = 0; i < MG_ADAPTER_PATHS && paths[i]; i++) {
        const char *dot = strrchr(paths[i], '.');
        int parent = dot ? (int)(dot - paths[i]) + 1 : 0;
        if (!add_place(rescue, mg_arena_printf(rescue->arena, "%.*s%s", parent, paths[i], key), IS_ROLE))
            return false;
    }
    return true;
}

/* "choices[*].delta.tool_calls" → its elements, and their id and type */
static bool add_calls(struct mg_rescue *rescue, const mg_adapter_paths paths)
{
    static const char *const once[] = {".id", ".type"};
    for (int i = 0; i < MG_ADAPTER_PATHS && paths[i]; i++) {
        const char *each = mg_view_ends(mg_view_cstr(paths[i]), MG_VIEW("]")) ? "" : "[*]";
        for (size_t k = 0; k < MG_COUNT(once); k++)
            if (!add_place(rescue, mg_arena_printf(rescue->arena, "%s%s%s", paths[i], each, once[k]), IS_CALL_ONCE))
                return false;
        if (!add_place(rescue, mg_arena_printf(rescue->arena, "%s%s", paths[i], each), IS_CALL))
            return false;
    }
    return true;
}

/* Compiled when an adapter is met first: once a rescue, and never for answers that need none. */
static const struct mg_json_paths *places_of(struct mg_rescue *rescue, const struct mg_adapter *adapter)
{
    struct places *places = &rescue->places;
    if (places->adapter == adapter)
        return places->paths;
    mg_json_paths_free(places->paths);
    *places = (struct places){.adapter = adapter};
    const struct mg_adapter_decl *decl = mg_adapter_declaration(adapter);
    bool ok = add_place(rescue, MG_VIEW("id"), IS_ID) && add_place(rescue, MG_VIEW("created"), IS_CREATED) &&
              add_beside(rescue, decl->chunk.content, "role") && add_beside(rescue, decl->chunk.reasoning, "role") &&
              add_calls(rescue, decl->chunk.tool_call);
    if (ok)
        places->paths = mg_json_paths_try_new(places->texts, places->count);
    return places->paths;
}

static bool inside(const struct look *look, mg_view value, size_t offset, size_t len)
{
    size_t from = (size_t)(value.ptr - look->event->data.ptr);
    return len && offset >= from && offset + len <= from + value.len;
}

/* The tool call that an element of the list is a piece of was begun by an earlier attempt. */
static bool known_call(const struct look *look, mg_view element)
{
    for (int i = 0; i < look->seen->tool_count; i++) {
        const struct mg_tap_tool *tool = &look->seen->tools[i];
        if (!inside(look, element, tool->name_offset, tool->name_len) &&
            !inside(look, element, tool->arguments_offset, tool->arguments_len))
            continue;
        const struct output *output = find_output(look->rescue, ARGUMENTS, tool->choice, tool->index);
        return output && !output->own;
    }
    return false;
}

static mg_err on_hit(void *arg, const struct mg_json_hit *hit)
{
    struct look *look = arg;
    enum meaning meaning = look->rescue->places.meaning[hit->path];
    if (meaning == IS_CALL) {          /* its members came before it */
        if (!known_call(look, hit->value))
            look->hit_count = look->call_from;
        look->call_from = look->hit_count;
        return MG_OK;
    }
    if (look->hit_count == HITS) {
        look->too_many = true;
        return MG_OK;
    }
    look->meaning[look->hit_count] = (uint8_t)meaning;
    look->hits[look->hit_count++] = *hit;
    if (meaning != IS_CALL_ONCE)
        look->call_from = look->hit_count;
    return MG_OK;
}

static mg_err add_piece(struct look *look, enum kind kind, int choice, int call, size_t offset, size_t len)
{
    struct mg_rescue *rescue = look->rescue;
    struct piece *piece = &look->pieces[look->count++];
    *piece = (struct piece){.kind = kind, .choice = choice, .call = call, .offset = offset, .len = len, .from = rescue->text.len};
    if (len)
        MG_TRY(mg_json_unescape(span_of(look->event->data, offset, len), &rescue->text));
    piece->bytes = rescue->text.len - piece->from;
    piece->output = find_output(rescue, kind, choice, call);
    return MG_OK;
}

static mg_err read_event(struct look *look, const struct mg_adapter *adapter)
{
    const struct mg_tap_event *seen = look->seen;
    mg_buf_clear(&look->rescue->text);
    for (int i = 0; i < seen->text_count; i++) {
        const struct mg_tap_text *text = &seen->texts[i];
        MG_TRY(add_piece(look, text->reasoning ? REASONING : CONTENT, text->choice, 0, text->offset, text->len));
    }
    for (int i = 0; i < seen->tool_count; i++) {
        const struct mg_tap_tool *tool = &seen->tools[i];
        if (tool->whole)
            continue;                  /* more_tools says that there is one */
        MG_TRY(add_piece(look, NAME, tool->choice, tool->index, tool->name_offset, tool->name_len));
        MG_TRY(add_piece(look, ARGUMENTS, tool->choice, tool->index, tool->arguments_offset, tool->arguments_len));
    }
    const struct mg_json_paths *paths = places_of(look->rescue, adapter);
    if (paths)
        MG_TRY(mg_json_scan(look->event->data, paths, on_hit, look, NULL));
    return look->too_many ? MG_E_TOO_LARGE : MG_OK;
}

/* ---- judging it ------------------------------------------------------------------------------ */

static mg_view text_of(const struct look *look, const struct piece *piece)
{
    return mg_view_head(mg_view_skip(mg_buf_view(&look->rescue->text), piece->from), piece->bytes);
}

/* Says something that was not sent yet; a tool call that begins does so with its empty arguments too. */
static bool is_fresh(const struct piece *piece)
{
    return piece->bytes > piece->known || (piece->kind == ARGUMENTS && !piece->output);
}

/* False: other words. */
static bool match_piece(const struct look *look, struct piece *piece)
{
    struct output *output = piece->output;
    if (!output)
        return true;
    mg_view said = text_of(look, piece), sent = mg_view_skip(mg_buf_view(&output->sent), output->matched);
    size_t n = MG_MIN(said.len, sent.len);
    piece->known = n;
    output->matched += n;
    bool longer_name = piece->kind == NAME && !output->own && output->sent.len > 0 && said.len > n;
    return mg_view_eq(mg_view_head(said, n), mg_view_head(sent, n)) && !longer_name;
}

/* Something new of a choice: it must go on where the client is. A choice that had not begun cannot: whether the client
 * knows its role is not known. */
static bool may_go_on(struct mg_rescue *rescue, int number)
{
    const struct choice *choice = find_choice(rescue, number);
    return choice && !choice->finished && settled(rescue, number);
}

static bool fits(struct look *look)
{
    struct mg_rescue *rescue = look->rescue;
    for (int i = 0; i < look->count; i++)
        if (!match_piece(look, &look->pieces[i]))
            return false;
    for (int i = 0; i < look->count; i++)
        if (is_fresh(&look->pieces[i]) && !may_go_on(rescue, look->pieces[i].choice))
            return false;
    for (int i = 0; i < look->seen->finished_count; i++)
        if (!find_choice(rescue, look->seen->finished[i]) || !settled(rescue, look->seen->finished[i]))
            return false;
    return true;
}

/* There is something in it for the client. */
static bool has_news(const struct look *look)
{
    if (!comparable(look->seen))
        return true;
    for (int i = 0; i < look->count; i++)
        if (is_fresh(&look->pieces[i]))
            return true;
    for (int i = 0; i < look->seen->finished_count; i++)
        if (!find_choice(look->rescue, look->seen->finished[i])->finished)
            return true;
    return false;
}

/* It says only what the client knows: a role, the end of a choice that ended, the head of a tool call. */
static bool is_stale(const struct look *look)
{
    bool stale = look->seen->finished_count > 0;
    for (size_t i = 0; i < look->hit_count; i++)
        stale |= look->meaning[i] == IS_ROLE;
    for (int i = 0; i < look->count; i++)
        stale |= look->pieces[i].output && !look->pieces[i].output->own;
    return stale;
}

/* ---- handing it on --------------------------------------------------------------------------- */

struct splices {
    struct mg_splice items[SPLICES];
    size_t count;
};

static void add_splice(struct splices *splices, struct mg_splice splice)
{
    size_t at = splices->count++;
    for (; at > 0 && splices->items[at - 1].offset > splice.offset; at--)
        splices->items[at] = splices->items[at - 1];
    splices->items[at] = splice;
}

static mg_err quote(struct mg_buf *out, mg_view text)
{
    MG_TRY(mg_buf_putc(out, '"'));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putc(out, '"');
}

/* What was sent already is taken out of the texts. */
static mg_err splice_texts(const struct look *look, struct splices *splices)
{
    struct mg_buf *quoted = &look->rescue->quoted;
    mg_buf_clear(quoted);
    MG_TRY(mg_buf_reserve(quoted, 6 * look->rescue->text.len + 2 * PIECES));     /* so that nothing below moves */
    for (int i = 0; i < look->count; i++) {
        const struct piece *piece = &look->pieces[i];
        size_t from = quoted->len;
        if (piece->known == 0)
            continue;
        MG_TRY(quote(quoted, mg_view_skip(text_of(look, piece), piece->known)));
        add_splice(splices, (struct mg_splice){piece->offset, piece->len, mg_view_skip(mg_buf_view(quoted), from)});
    }
    return MG_OK;
}

static void splice_members(const struct look *look, struct splices *splices)
{
    const struct mg_rescue *rescue = look->rescue;
    struct mg_json_hit cuts[HITS];
    struct mg_splice cut[HITS];
    size_t count = 0;
    for (size_t i = 0; i < look->hit_count; i++) {
        const struct mg_json_hit *hit = &look->hits[i];
        size_t offset = (size_t)(hit->value.ptr - look->event->data.ptr);
        mg_view known = look->meaning[i] == IS_ID ? rescue->id : look->meaning[i] == IS_CREATED ? rescue->created : MG_VIEW_NONE;
        if (look->meaning[i] == IS_ROLE || look->meaning[i] == IS_CALL_ONCE)
            cuts[count++] = *hit;
        else if (known.len && !mg_view_eq(known, hit->value))
            add_splice(splices, (struct mg_splice){offset, hit->value.len, known});
    }
    count = mg_json_cuts(look->event->data, cuts, count, cut);
    for (size_t i = 0; i < count; i++)
        add_splice(splices, cut[i]);
}

static mg_err rewrite(const struct look *look, const struct splices *splices, struct mg_sse_event *out_event)
{
    struct mg_rescue *rescue = look->rescue;
    mg_buf_clear(&rescue->data);
    mg_buf_clear(&rescue->raw);
    MG_TRY(mg_splice_apply(look->event->data, splices->items, splices->count, &rescue->data));
    mg_view data = mg_buf_view(&rescue->data);
    MG_TRY(mg_sse_put_event(&rescue->raw, look->event->name, data));
    mg_view raw = mg_buf_view(&rescue->raw);
    bool one_line = mg_view_find(data, "\r\n") == data.len;
    if (one_line)                      /* it ends in two line feeds */
        data = mg_view_of(raw.ptr + raw.len - 2 - data.len, data.len);
    *out_event = (struct mg_sse_event){.name = look->event->name, .data = data, .raw = raw, .data_in_raw = one_line};
    return MG_OK;
}

static mg_err hand_on(const struct look *look, const struct mg_adapter *adapter, struct mg_sse_event *out_event,
                      struct mg_tap_event *out_seen)
{
    struct splices splices = {.count = 0};
    MG_TRY(splice_texts(look, &splices));
    splice_members(look, &splices);
    if (splices.count == 0) {
        *out_event = *look->event;
        *out_seen = *look->seen;
    } else {
        struct mg_tap tap;
        MG_TRY(rewrite(look, &splices, out_event));
        mg_tap_init(&tap, adapter, true);
        mg_tap_event(&tap, out_event->name, out_event->data, out_seen);
    }
    (void)mg_rescue_record(look->rescue, out_event, out_seen);
    return MG_OK;
}

static enum mg_resume_step pass(const struct mg_sse_event *event, const struct mg_tap_event *seen,
                                struct mg_sse_event *out_event, struct mg_tap_event *out_seen)
{
    *out_event = *event;
    *out_seen = *seen;
    return MG_RESUME_FORWARD;
}

enum mg_resume_step mg_rescue_event(struct mg_rescue *rescue, const struct mg_adapter *adapter,
                                    const struct mg_sse_event *event, const struct mg_tap_event *seen,
                                    struct mg_sse_event *out_event, struct mg_tap_event *out_seen)
{
    bool matching = rescue->state == MATCHING;
    if (rescue->state == DIVERGED)
        return MG_RESUME_DIVERGED;
    if (event->is_comment || seen->malformed || seen->error)
        return matching || !event->is_comment ? MG_RESUME_SUPPRESS : pass(event, seen, out_event, out_seen);
    if (matching && (seen->done || !comparable(seen)))
        return diverge(rescue);
    if (seen->done)
        return pass(event, seen, out_event, out_seen);

    struct look look = {.rescue = rescue, .event = event, .seen = seen};
    if (read_event(&look, adapter) != MG_OK || !fits(&look))
        return diverge(rescue);
    if (matching && settled(rescue, -1))
        rescue->state = FLOWING;
    if (!has_news(&look) && (matching || is_stale(&look)))
        return MG_RESUME_SUPPRESS;
    return hand_on(&look, adapter, out_event, out_seen) == MG_OK ? MG_RESUME_FORWARD : diverge(rescue);
}

/* ---- going on from the text ------------------------------------------------------------------- */

/* Of one choice, nothing but content. */
static bool only_content(const struct mg_rescue *rescue)
{
    for (int i = 0; i < rescue->output_count; i++)
        if (rescue->outputs[i].kind != CONTENT || rescue->outputs[i].choice != 0)
            return false;
    return rescue->output_count == 1 && rescue->outputs[0].sent.len > 0;
}

static bool wants_one_choice(const struct mg_request *request)
{
    uint64_t n = 1;
    mg_view field = mg_request_field(request, MG_VIEW("n"));
    return !field.len || mg_json_span_type(field) == MG_JSON_NULL || (mg_json_span_u64(field, &n) && n == 1);
}

static mg_view joined(struct mg_arena *arena, mg_view a, mg_view b)
{
    char *out = mg_arena_alloc(arena, a.len + b.len + 1);
    if (a.len)
        memcpy(out, a.ptr, a.len);
    memcpy(out + a.len, b.ptr, b.len);
    return mg_view_of(out, a.len + b.len);
}

/* A conversation that ends with the assistant's own words already goes on in the same message. */
static mg_err append(struct mg_request *request, mg_view text)
{
    size_t last = request->message_count - 1;
    bool begun = request->message_count > 0 && mg_view_eq(request->messages[last].role, MG_VIEW("assistant")) &&
                 request->messages[last].content.len && request->messages[last].content.ptr[0] == '"';
    if (!begun)
        return mg_request_message_insert(request, request->message_count, MG_VIEW("assistant"), text);
    mg_request_message_set(request, last, joined(request->arena, mg_request_message_text(request, last), text));
    return MG_OK;
}

mg_err mg_rescue_prefill_request(const struct mg_rescue *rescue, const struct mg_request *request, struct mg_arena *arena,
                                 struct mg_request *out_request)
{
    if (rescue->lost || !only_content(rescue))
        return MG_E_PROTOCOL;
    return mg_rescue_append_text(request, mg_buf_view(&rescue->outputs[0].sent), arena, out_request);
}

mg_err mg_rescue_append_text(const struct mg_request *request, mg_view text, struct mg_arena *arena, struct mg_request *out_request)
{
    if (!request->messages_span.len || !wants_one_choice(request))
        return MG_E_PROTOCOL;
    struct mg_request copy = *request;
    struct mg_json_error error;
    copy.arena = arena;
    copy.message_cap = request->message_count + 1;
    copy.messages = mg_arena_array(arena, struct mg_message, copy.message_cap);
    if (request->message_count)
        memcpy(copy.messages, request->messages, request->message_count * sizeof *copy.messages);
    MG_TRY(append(&copy, text));
    MG_TRY(mg_request_render(&copy, &error));
    copy.stream = request->stream;     /* some dialects say both in the path */
    copy.model = request->model.len && !copy.model.len ? request->model : copy.model;
    *out_request = copy;
    return MG_OK;
}
