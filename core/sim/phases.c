/* Tracks in the order in which they came; configured ones and posted ones look alike.
 *
 *    waiting for a call ─▶ catch_up(): phases whose time or calls are over are left
 *                       ─▶ act(): limit, then the share of failures, then the pace */
#include "sim/phases.h"

#include <stdio.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/json.h"
#include "sim/text.h"

struct window {   /* of one key */
    uint64_t key; /* hash; 0: free */
    uint64_t begin_us;
    uint32_t used;
};

struct track {
    char model[129], key[129]; /* globs */
    bool configured;
    bool loop;
    int count; /* of phases */
    int at;    /* the phase it is in; `count`: over */
    uint64_t since_us;
    uint32_t calls;        /* in this phase */
    uint64_t seen, failed; /* calls, over all phases */
    struct window windows[MG_SIM_LIMITED_KEYS];
    struct mg_list link;
    struct mg_config_sim_phase phases[MG_SIM_TRACK_PHASES];
};

struct mg_sim_phases {
    struct mg_list tracks; /* owned */
    int count;
};

static struct track *track_new(mg_view model, mg_view key, uint64_t now_us);
static void add(struct mg_sim_phases *phases, struct track *track);
static void drop(struct mg_sim_phases *phases, bool configured);
static void drop_same(struct mg_sim_phases *phases, const struct track *track);
static void catch_up(struct track *track, uint64_t now_us);
static void enter(struct track *track, int at, uint64_t since_us);
static bool matches(const struct track *track, mg_view model, mg_view key);
static void act(struct track *track, mg_view key, uint64_t now_us, uint64_t *random,
                struct mg_sim_effect *effect);
static bool take(struct track *track, mg_view key, uint64_t now_us, struct mg_sim_effect *effect);
static struct window *window_of(struct track *track, mg_view key);
static mg_err read_track(const struct mg_json *json, struct track *track, char out_why[128]);
static mg_err read_phase(const struct mg_json *json, bool outer, struct mg_config_sim_phase *phase,
                         char out_why[128]);
static mg_err read_number(const struct mg_json *value, struct mg_config_sim_phase *phase,
                          mg_view name, char out_why[128]);
static mg_err read_fault(const struct mg_json *value, struct mg_config_sim_phase *phase,
                         char out_why[128]);
static mg_err refuse(char out_why[128], const char *text, mg_view about);
static mg_err print_track(const struct track *track, uint64_t now_us, struct mg_buf *out);

struct mg_sim_phases *mg_sim_phases_new(void)
{
    struct mg_sim_phases *phases = mg_new(struct mg_sim_phases);
    mg_list_init(&phases->tracks);
    return phases;
}

void mg_sim_phases_free(struct mg_sim_phases *phases)
{
    if (!phases)
        return;
    drop(phases, true);
    drop(phases, false);
    mg_free(phases);
}

void mg_sim_phases_configure(struct mg_sim_phases *phases, const struct mg_config_sim_model *models,
                             int count, uint64_t now_us)
{
    drop(phases, true);
    for (int i = 0; i < count; i++) {
        const struct mg_config_sim_model *model = &models[i];
        if (model->phase_count <= 0)
            continue;
        struct track *track = track_new(mg_view_cstr(model->model), MG_VIEW("*"), now_us);
        track->configured = true;
        track->loop = model->loop;
        track->count = MG_MIN(model->phase_count, MG_SIM_TRACK_PHASES);
        for (int k = 0; k < track->count; k++) {
            track->phases[k] = model->phases[k];
            mg_view fault = mg_view_cstr(model->phases[k].fault);
            track->phases[k].fault = mg_sim_faults[mg_sim_fault_find(fault)].name;
        }
        add(phases, track);
    }
}

mg_err mg_sim_phases_post(struct mg_sim_phases *phases, mg_view text, uint64_t now_us,
                          char out_why[128])
{
    struct mg_json *json = NULL;
    if (mg_json_parse(text, 65536, &json, NULL) != MG_OK || !mg_json_is(json, MG_JSON_OBJECT)) {
        mg_json_free(json);
        return refuse(out_why, "expected a JSON object", MG_VIEW_NONE);
    }
    mg_view model = mg_json_string(mg_json_get(json, "model"));
    mg_view key = mg_json_string(mg_json_get(json, "key"));
    struct track *track =
        track_new(model.len ? model : MG_VIEW("*"), key.len ? key : MG_VIEW("*"), now_us);
    mg_err err = read_track(json, track, out_why);
    mg_json_free(json);
    if (err == MG_OK) {
        drop_same(phases, track);
        err = phases->count < MG_SIM_TRACKS ? MG_OK : MG_E_TOO_LARGE;
    }
    if (err == MG_OK && track->count > 0)
        add(phases, track);
    else
        mg_free(track);
    return err;
}

void mg_sim_phases_clear(struct mg_sim_phases *phases)
{
    drop(phases, false);
}

void mg_sim_phases_restart(struct mg_sim_phases *phases, uint64_t now_us)
{
    MG_LIST_EACH(item, next, &phases->tracks)
    {
        struct track *track = mg_container_of(item, struct track, link);
        if (!track->configured)
            continue;
        track->seen = track->failed = 0;
        enter(track, 0, now_us);
    }
}

void mg_sim_phases_apply(struct mg_sim_phases *phases, mg_view model, mg_view key, uint64_t now_us,
                         uint64_t *random, struct mg_sim_effect *out_effect)
{
    *out_effect = (struct mg_sim_effect){.ttft_ms = -1, .tokens_per_s = -1};
    MG_LIST_EACH(item, next, &phases->tracks)
    {
        struct track *track = mg_container_of(item, struct track, link);
        if (!matches(track, model, key))
            continue;
        catch_up(track, now_us);
        if (track->at < track->count)
            act(track, key, now_us, random, out_effect);
    }
}

mg_err mg_sim_phases_print(struct mg_sim_phases *phases, uint64_t now_us, struct mg_buf *out)
{
    const char *comma = "";
    MG_TRY(mg_buf_putc(out, '['));
    MG_LIST_EACH(item, next, &phases->tracks)
    {
        struct track *track = mg_container_of(item, struct track, link);
        catch_up(track, now_us);
        MG_TRY(mg_buf_put(out, mg_view_cstr(comma)));
        MG_TRY(print_track(track, now_us, out));
        comma = ",";
    }
    return mg_buf_putc(out, ']');
}

static struct track *track_new(mg_view model, mg_view key, uint64_t now_us)
{
    struct track *track = mg_new(struct track);
    snprintf(track->model, sizeof(track->model), "%.*s", MG_FMT(model));
    snprintf(track->key, sizeof(track->key), "%.*s", MG_FMT(key));
    track->since_us = now_us;
    return track;
}

static void add(struct mg_sim_phases *phases, struct track *track)
{
    mg_list_push_back(&phases->tracks, &track->link);
    phases->count++;
}

static void drop(struct mg_sim_phases *phases, bool configured)
{
    MG_LIST_EACH(item, next, &phases->tracks)
    {
        struct track *track = mg_container_of(item, struct track, link);
        if (track->configured != configured)
            continue;
        mg_list_remove(&track->link);
        phases->count--;
        mg_free(track);
    }
}

static void drop_same(struct mg_sim_phases *phases, const struct track *than)
{
    MG_LIST_EACH(item, next, &phases->tracks)
    {
        struct track *track = mg_container_of(item, struct track, link);
        if (track->configured || strcmp(track->model, than->model) != 0 ||
            strcmp(track->key, than->key) != 0)
            continue;
        mg_list_remove(&track->link);
        phases->count--;
        mg_free(track);
    }
}

/* Phases by time follow each other without a gap, however late one looks. */
static void catch_up(struct track *track, uint64_t now_us)
{
    uint64_t cycle_us = 0;
    for (int i = 0; i < track->count; i++)
        cycle_us += (uint64_t)track->phases[i].for_ms * 1000;
    while (track->at < track->count) {
        const struct mg_config_sim_phase *phase = &track->phases[track->at];
        uint64_t for_us = (uint64_t)phase->for_ms * 1000;
        bool timed_out = for_us > 0 && now_us - track->since_us >= for_us;
        if (!timed_out && (phase->for_calls == 0 || track->calls < phase->for_calls))
            return;
        uint64_t since_us = timed_out ? track->since_us + for_us : now_us;
        enter(track, track->at + 1, since_us);
        if (track->at < track->count || !track->loop)
            continue;
        uint64_t behind_us = now_us - since_us;
        enter(track, 0, cycle_us ? since_us + behind_us / cycle_us * cycle_us : since_us);
    }
}

static void enter(struct track *track, int at, uint64_t since_us)
{
    track->at = at;
    track->since_us = since_us;
    track->calls = 0;
    memset(track->windows, 0, sizeof(track->windows));
}

static bool matches(const struct track *track, mg_view model, mg_view key)
{
    return mg_view_glob(mg_view_cstr(track->model), model) &&
           mg_view_glob(mg_view_cstr(track->key), key);
}

static void act(struct track *track, mg_view key, uint64_t now_us, uint64_t *random,
                struct mg_sim_effect *effect)
{
    const struct mg_config_sim_phase *phase = &track->phases[track->at];
    bool allowed = !phase->requests || take(track, key, now_us, effect);
    track->calls++;
    track->seen++;
    if (phase->ttft_ms >= 0)
        effect->ttft_ms = phase->ttft_ms;
    if (phase->tokens_per_s >= 0)
        effect->tokens_per_s = phase->tokens_per_s;
    if (effect->fault != MG_SIM_FAULT_NONE)
        return;
    if (!allowed) {
        effect->refused = true;
        effect->fault = MG_SIM_FAULT_rate_limited;
        effect->value = (int)((effect->reset_ms + 999) / 1000);
    } else if ((double)(mg_sim_random(random) % 1000000) < phase->error_share * 1000000) {
        effect->fault = mg_sim_fault_find(mg_view_cstr(phase->fault));
        effect->value = phase->value ? phase->value : mg_sim_faults[effect->fault].value;
    }
    track->failed += effect->fault != MG_SIM_FAULT_NONE;
}

static bool take(struct track *track, mg_view key, uint64_t now_us, struct mg_sim_effect *effect)
{
    const struct mg_config_sim_phase *phase = &track->phases[track->at];
    struct window *window = window_of(track, key);
    uint64_t length_us = (uint64_t)phase->window_ms * 1000;
    if (!window->begin_us || now_us - window->begin_us >= length_us) {
        window->begin_us = now_us;
        window->used = 0;
    }
    bool allowed = window->used < phase->requests;
    window->used += allowed;
    effect->limit = phase->requests;
    effect->left = phase->requests - window->used;
    effect->reset_ms = (window->begin_us + length_us - now_us + 999) / 1000;
    return allowed;
}

/* More keys than there are windows share them. */
static struct window *window_of(struct track *track, mg_view key)
{
    uint64_t hash = mg_hash(key) | 1;
    for (int i = 0; i < MG_SIM_LIMITED_KEYS; i++) {
        struct window *window = &track->windows[i];
        if (window->key && window->key != hash)
            continue;
        window->key = hash;
        return window;
    }
    return &track->windows[hash % MG_SIM_LIMITED_KEYS];
}

/* ---- from JSON */

static mg_err read_track(const struct mg_json *json, struct track *track, char out_why[128])
{
    const struct mg_json *list = mg_json_get(json, "phases");
    track->loop = mg_json_bool(mg_json_get(json, "loop"), false);
    if (!list) { /* the object is the only phase, or says nothing */
        MG_TRY(read_phase(json, true, &track->phases[0], out_why));
        track->count = mg_json_count(json) > (size_t)(mg_json_get(json, "model") != NULL) +
                                                 (mg_json_get(json, "key") != NULL);
        return MG_OK;
    }
    if (!mg_json_is(list, MG_JSON_ARRAY) || mg_json_count(list) > MG_SIM_TRACK_PHASES)
        return refuse(out_why, "expected a list of at most 32 phases", MG_VIEW_NONE);
    for (const struct mg_json *phase = mg_json_first(list); phase; phase = mg_json_next(phase))
        MG_TRY(read_phase(phase, false, &track->phases[track->count++], out_why));
    bool ends = true;
    for (int i = 0; i < track->count; i++)
        ends &= track->phases[i].for_ms || track->phases[i].for_calls;
    return track->loop && !ends ? refuse(out_why, "only phases that end can repeat", MG_VIEW_NONE)
                                  : MG_OK;
}

/* outer: the fields of a track may stand beside it. */
static mg_err read_phase(const struct mg_json *json, bool outer, struct mg_config_sim_phase *phase,
                         char out_why[128])
{
    if (!mg_json_is(json, MG_JSON_OBJECT))
        return refuse(out_why, "a phase is an object", MG_VIEW_NONE);
    *phase = (struct mg_config_sim_phase){
        .error_share = -1, .ttft_ms = -1, .tokens_per_s = -1, .window_ms = 60000};
    for (const struct mg_json *member = mg_json_first(json); member;
         member = mg_json_next(member)) {
        mg_view name = mg_json_key(member);
        bool of_track = mg_view_eq(name, MG_VIEW("model")) || mg_view_eq(name, MG_VIEW("key")) ||
                        mg_view_eq(name, MG_VIEW("loop"));
        if (outer && of_track)
            continue;
        if (mg_view_eq(name, MG_VIEW("fault")))
            MG_TRY(read_fault(member, phase, out_why));
        else
            MG_TRY(read_number(member, phase, name, out_why));
    }
    if (phase->error_share >= 0 && !phase->fault)
        phase->fault = mg_sim_faults[MG_SIM_FAULT_status].name;
    if (phase->error_share < 0)
        phase->error_share = phase->fault ? 1 : 0;
    return MG_OK;
}

static mg_err read_number(const struct mg_json *value, struct mg_config_sim_phase *phase,
                          mg_view name, char out_why[128])
{
    double number = mg_json_double(value, -1);
    if (!mg_json_is(value, MG_JSON_NUMBER) || number < 0 || number > 86400000)
        return refuse(out_why, "expected a number from 0 to 86400000 in ", name);
    if (mg_view_eq(name, MG_VIEW("error_share")))
        phase->error_share = number;
    else if (mg_view_eq(name, MG_VIEW("value")))
        phase->value = (int)number;
    else if (mg_view_eq(name, MG_VIEW("ttft_ms")))
        phase->ttft_ms = (int)number;
    else if (mg_view_eq(name, MG_VIEW("tokens_per_s")))
        phase->tokens_per_s = (int)number;
    else if (mg_view_eq(name, MG_VIEW("for_ms")))
        phase->for_ms = (uint32_t)number;
    else if (mg_view_eq(name, MG_VIEW("for_calls")))
        phase->for_calls = (uint32_t)number;
    else if (mg_view_eq(name, MG_VIEW("requests")))
        phase->requests = (uint32_t)number;
    else if (mg_view_eq(name, MG_VIEW("window_ms")) && number >= 1)
        phase->window_ms = (uint32_t)number;
    else if (mg_view_eq(name, MG_VIEW("status"))) {
        phase->fault = mg_sim_faults[MG_SIM_FAULT_status].name;
        phase->value = (int)number;
    } else
        return refuse(out_why, "there is no field ", name);
    return MG_OK;
}

static mg_err read_fault(const struct mg_json *value, struct mg_config_sim_phase *phase,
                         char out_why[128])
{
    mg_view name = mg_json_string(value);
    enum mg_sim_fault fault = mg_sim_fault_find(name);
    if (fault == MG_SIM_FAULT_NONE)
        return refuse(out_why, "there is no fault ", name);
    phase->fault = mg_sim_faults[fault].name;
    return MG_OK;
}

static mg_err refuse(char out_why[128], const char *text, mg_view about)
{
    snprintf(out_why, 128, "%s%.*s", text, MG_FMT(about));
    return MG_E_BAD_REQUEST;
}

static mg_err print_track(const struct track *track, uint64_t now_us, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"model\":\"")));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(track->model)));
    MG_TRY(mg_buf_put(out, MG_VIEW("\",\"key\":\"")));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(track->key)));
    return mg_buf_putf(
        out, "\",\"phase\":%d,\"phases\":%d,\"since_ms\":%llu,\"calls\":%llu,\"failed\":%llu}",
        track->at, track->count, (unsigned long long)((now_us - track->since_us) / 1000),
        (unsigned long long)track->seen, (unsigned long long)track->failed);
}
