/* script.h - Lua behind plain C: trusted and project states, and the hooks they answer.
 *
 * A worker has one `struct mg_trusted` (what ships in lua/: default policy, taxonomy and dialects; JIT on)
 * and, per generation with Lua of its own, one `struct mg_script` (a sandboxed project state). Both
 * are built off the loop and used only by their worker's thread. Nothing here keeps a pointer into
 * an exchange after the hook returned or was cancelled. */
#ifndef MG_SCRIPT_SCRIPT_H
#define MG_SCRIPT_SCRIPT_H

#include "chat/adapter.h"
#include "chat/call.h"
#include "chat/dialect.h"
#include "chat/translator.h"
#include "config/config.h"
#include "relay/policy.h"
#include "tenant/switches.h"

struct mg_trusted;
struct mg_script;
struct mg_hook_run;                    /* one waiting hook */

/* Once per process, before any state: signal, watchdog thread; and the end of it. */
MG_MUST_USE mg_err mg_script_init(struct mg_diag *diag);
void mg_script_fini(void);

MG_MUST_USE mg_err mg_trusted_new(struct mg_trusted **out_trusted, struct mg_diag *diag);
void mg_trusted_free(struct mg_trusted *trusted);
/* Default policy and taxonomy; the `policy` argument of the ops is the mg_trusted. */
extern const struct mg_policy_ops mg_trusted_policy;

/* Maps between the dialects of lua/dialects; the argument of the ops is the mg_trusted. */
extern const struct mg_translator_ops mg_trusted_translator;

/* Reads lua/adapters/<name>.lua (through a state of its own) into plain data. Builder thread or
 * start-up; the declaration lives in `arena`. */
MG_MUST_USE mg_err mg_adapter_load(const char *name, struct mg_arena *arena, struct mg_adapter_decl *out_decl,
                                   struct mg_diag *diag);

/* The same for what adapter `name` speaks besides: number `speaks` of its declaration's `speaks`, asked at the base URL,
 * with the authentication, headers, limits and vars of `name`. MG_E_CONFIG also when it speaks less. */
MG_MUST_USE mg_err mg_adapter_load_spoken(const char *name, int speaks, struct mg_arena *arena, struct mg_adapter_decl *out_decl,
                                          struct mg_diag *diag);
/* Reads what C executes of lua/dialects/<name>.lua, all but the adapter. As mg_adapter_load(). */
MG_MUST_USE mg_err mg_dialect_load(const char *name, struct mg_arena *arena, struct mg_dialect *out_dialect, struct mg_diag *diag);

/* Does the project bring any Lua function or plugin? When not, it has no state at all. */
bool mg_script_needed(const struct mg_config_project *config);

/* Builder thread. Loads text, runs `validate` and `new` of each instance; diag names file, line and instance. */
MG_MUST_USE mg_err mg_script_build(const struct mg_config_project *config, struct mg_script **out_script,
                                   struct mg_diag *diag);
void mg_script_free(struct mg_script *script);       /* on any thread once its worker let go */

/* The worker takes the state: waiting hooks run on this loop; `trusted` answers when the project has no function. */
void mg_script_attach(struct mg_script *script, struct mg_loop *loop, struct mg_trusted *trusted);

/* Which plugins are disabled by hand (NULL: none): each takes its fail mode, as in quarantine, until it is told otherwise.
 * What is given must live until the next call. The owner's thread. */
void mg_script_set_switches(struct mg_script *script, const struct mg_switched *switched);

/* A fault (deadline, memory) taints the state: the owner should have it rebuilt off the loop. */
bool mg_script_tainted(const struct mg_script *script);

enum mg_hook {
    MG_HOOK_ON_REQUEST, MG_HOOK_ROUTE, MG_HOOK_ON_ATTEMPT, MG_HOOK_CLASSIFY, MG_HOOK_ON_CHUNK,
    MG_HOOK_ON_RESPONSE, MG_HOOK_ON_LOG,
    MG_HOOK_ON_BILL, MG_HOOK_ON_INVOICE,         /* of plugins, for `moongate usage bill` (script/bill.h) */
    MG_HOOK_ACCEPT, MG_HOOK_OFFLINE,   /* only functions of a workflow: `accept`, `offline.answer` */
    MG_HOOK_CHARGE,                    /* only a function of a project: `charge` */
    MG_HOOK_COUNT, MG_HOOK_OF_PLUGINS = MG_HOOK_ACCEPT
};
/* False costs nothing on the hot path: no instance would run for this call. */
bool mg_script_has(const struct mg_script *script, enum mg_hook hook, const struct mg_call *call);

/* Project policy: the `policy` argument of the ops is the mg_script; what no function answers falls
 * to the trusted state's default. */
extern const struct mg_policy_ops mg_script_policy;

/* Outcome of on_request and on_response. Strings are in the call's arena. */
struct mg_hook_outcome {
    enum { MG_HOOK_GO_ON, MG_HOOK_RESPOND, MG_HOOK_DENY, MG_HOOK_REPLACE, MG_HOOK_RETRY } kind;
    int status;                        /* RESPOND, DENY */
    mg_view code, message;             /* DENY; RETRY: message is the reason */
    mg_view body;                      /* RESPOND, REPLACE: JSON text of the whole answer, or empty */
    mg_view text;                      /* RESPOND, REPLACE: only the assistant's text */
};
typedef void (*mg_hook_cb)(void *arg, const struct mg_hook_outcome *outcome);

/* Runs the instances in order. The callback fires exactly once, possibly before the function
 * returns (then NULL is returned); else the run can be cancelled, after which it never fires. */
struct mg_hook_run *mg_script_on_request(struct mg_script *script, struct mg_call *call, mg_hook_cb cb, void *arg);
struct mg_hook_run *mg_script_on_response(struct mg_script *script, struct mg_call *call,
                                          struct mg_call_response *response, mg_hook_cb cb, void *arg);
void mg_hook_cancel(struct mg_hook_run *run);

/* Streaming filters of one stream: text goes in per logical output, what may be sent comes out. */
struct mg_filter;
enum mg_channel { MG_CHANNEL_CONTENT, MG_CHANNEL_REASONING };
enum mg_filter_mode { MG_FILTER_NONE, MG_FILTER_OBSERVE, MG_FILTER_WINDOW, MG_FILTER_BUFFER, MG_FILTER_REJECT };
/* What the instances that match this call need of a stream: the strictest mode wins. */
enum mg_filter_mode mg_script_filter_mode(const struct mg_script *script, const struct mg_call *call);
/* True when one of them would rather end the stream than let text pass that it has not seen. */
bool mg_script_guards_stream(const struct mg_script *script, const struct mg_call *call);
struct mg_filter *mg_filter_new(struct mg_script *script, struct mg_call *call);   /* freed by the call's arena */
/* `text` is new decoded text of choice and channel, `final` its end. *out_text (valid until the next
 * call) is what may go to the client now. MG_E_DENIED: a guard stopped the stream, *out_outcome says why. */
MG_MUST_USE mg_err mg_filter_feed(struct mg_filter *filter, int choice, enum mg_channel channel, mg_view text,
                                  bool final, mg_view *out_text, struct mg_hook_outcome *out_outcome);
/* Milliseconds until a transform must flush what it holds; 0: nothing is held. */
uint32_t mg_filter_flush_in_ms(const struct mg_filter *filter);

/* The project's `charge` on each attempt of an exchange that settles: fills timeline->uncharged. What it says nothing of, or
 * fails for, is charged when it served (meter/charge.h). */
void mg_script_charge(struct mg_script *script, struct mg_call *call);

/* on_log: false drops the record's content (metadata, explain, notes), never its usage. */
bool mg_script_on_log(struct mg_script *script, struct mg_call *call);

#endif
