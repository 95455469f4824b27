---@meta moongate.hooks

--- A plugin is a table of hooks: `init.lua` returns it. Every hook is optional. `M.new` makes the object that the others
--- get as `self`; without it they get `{ config = … }`. An inline function in a project file is the same hook without
--- `self`.
---
--- A hook that raises, overruns its CPU burst or starves of memory takes its fail mode: a guard refuses the request, any
--- other plugin is skipped; both are noted in the timeline. `(waits)`: functions that wait may be called.
---@class moongate.Plugin
---@field config table  the settings, checked against plugin.json and completed by its defaults
local Plugin = {}

--- Has the last word on the settings when a generation is built, after the schema check.
---
--- Phases: validate
--- Since: 1
---@param config table
---@return boolean ok  false or nil refuses the generation
---@return string? message  why
function Plugin.validate(config) end

--- Makes the instance when a generation is built. The place to compile patterns. Raising or returning nil refuses the
--- generation, and the old one stays.
---
--- Phases: new
--- Since: 1
---@param config table
---@return table? self
---@return string? message
function Plugin.new(config) end

--- Before a request is routed (waits). May edit it, answer it or refuse it.
---
--- Phases: on_request
--- Since: 1
---@param req moongate.Request
---@return moongate.Outcome?  of `req:respond` or `req:deny`; nil goes on
function Plugin:on_request(req) end

--- Chooses targets. The first instance that returns a plan is obeyed.
---
--- Phases: route
--- Since: 1
---@param req moongate.Request
---@param candidates moongate.Candidate[]  targets of the workflow; also by id: `candidates["openai/gpt-5"]`
---@param flow moongate.Flow  what the workflow says about choosing among them
---@return moongate.Plan?  nil asks the next instance, at last the default policy
function Plugin:route(req, candidates, flow) end

--- Before each attempt, retries included.
---
--- Phases: on_attempt
--- Since: 1
---@param req moongate.Request
---@param att moongate.Attempt
---@return moongate.Patch?  nil changes nothing
function Plugin:on_attempt(req, att) end

--- Judges an attempt that did not end well. The first instance that returns a verdict is obeyed.
---
--- Phases: classify
--- Since: 1
---@param att moongate.Attempt
---@return moongate.Verdict?  nil asks the next instance, at last the default taxonomy
function Plugin:classify(att) end

--- Text of a streamed answer, some of it held back: see the `stream` entry of plugin.json.
---
--- Phases: on_chunk
--- Since: 1
---@param chunk moongate.Chunk
---@return string|moongate.Outcome|nil  text replaces all of `chunk.text`; `chunk:stop` ends the stream; nil leaves it
function Plugin:on_chunk(chunk) end

--- When the answer is complete (waits). A streamed answer is gone by then: it can be read, not changed.
---
--- Phases: on_response
--- Since: 1
---@param res moongate.Response
---@return moongate.Outcome?  of `res:replace`, `res:deny` or `res:retry`; nil leaves it
function Plugin:on_response(res) end

--- Before the record of an exchange is kept.
---
--- Phases: on_log
--- Since: 1
---@param rec moongate.Record
---@return boolean?  false drops metadata, explanation and notes; usage is always kept
function Plugin:on_log(rec) end

--- One usage event of the period that is billed, oldest first: for plugins that `moongate usage bill --plugin` runs, outside
--- the gateway. One that fails ends the bill.
---
--- Phases: on_bill
--- Since: 1
---@param event moongate.UsageEvent
function Plugin:on_bill(event) end

--- The bill, when all events were given.
---
--- Phases: on_invoice
--- Since: 1
---@return string
function Plugin:on_invoice() end

--- A usage event, as docs/reference/usage-events.md has it; what is null there is nil.
---@class moongate.UsageEvent
---@field id string
---@field exchange string
---@field attempt integer
---@field at_us integer
---@field project string
---@field key string
---@field workflow string
---@field provider string
---@field model string
---@field model_served string
---@field tokens "reported"|"estimated"|"none"
---@field input_tokens integer
---@field output_tokens integer
---@field cost_picousd integer?
---@field served boolean
---@field charged boolean
---@field metadata table?

--- Functions that only a workflow of a project file has, without `self`. They may not wait. One that fails is noted in the
--- timeline and passed over: the answer is accepted, the next kind of offline answer is taken.
---@class moongate.Workflow
local Workflow = {}

--- `accept`: is this complete answer good enough to be sent? It is asked before anything was sent, so that another target
--- can be tried; what it rejects counts as `schema_mismatch`.
---
--- Phases: accept
--- Since: 1
---@param res moongate.Response
---@return any ok  false or nil rejects
---@return string? reason  shown in the timeline
function Workflow.accept(res) end

--- `offline.answer`: what the assistant says when every target failed.
---
--- Phases: offline
--- Since: 1
---@param req moongate.Request
---@param failure moongate.Failure
---@return string?  nil leaves it to `offline.text`, at last to the error
function Workflow.offline(req, failure) end

--- A function that only a project file has, without `self`: `charge = function(attempt) … end`. It may not wait.
---@class moongate.Project
local Project = {}

--- `charge`: does this project pay for this attempt? Asked once for each, when its exchange settles and its content went out
--- already. What it leaves open, or fails for (noted in the timeline), is charged when its answer reached the client.
---
--- Phases: charge
--- Since: 1
---@param attempt moongate.Charge
---@return boolean?  nil leaves it to "serving"
function Project.charge(attempt) end

--- One upstream call of an exchange that is over. What nobody knows is nil.
---@class moongate.Charge
---@field id string  of the exchange
---@field attempt integer  1 is the first of the exchange …
---@field attempts integer  … which made so many
---@field workflow string
---@field key string  the key's id
---@field session string?
---@field metadata table  as the client sent it
---@field provider string
---@field model string  as it was asked for
---@field model_served string  as the answer names it
---@field tier string?  service tier of the answer
---@field arm string?
---@field credential string?
---@field reason "first"|"retry"|"fallback"|"hedge"|"rescue"|"shadow"
---@field class moongate.Class|"none"  how it ended
---@field status integer  HTTP status of the answer; 0: none came
---@field served boolean  bytes of its answer were for the client
---@field reported boolean  the provider counted the tokens; else they are an estimate
---@field input_tokens integer
---@field output_tokens integer
---@field cached_read_tokens integer
---@field cached_write_tokens integer
---@field reasoning_tokens integer
---@field cost_picousd integer?  nil: nobody knows what it costs

--- What the client would see.
---@class moongate.Failure
---@field class moongate.Class
---@field status integer  of HTTP
---@field code string
---@field message string
---@field attempts integer

--- What a hook returns to decide. Made by `req:respond`, `req:deny`, `res:replace`, `res:deny`, `res:retry`, `chunk:stop`.
---@class moongate.Outcome

--- A window on streamed text that was not sent yet.
---@class moongate.Chunk
---@field text string  all of it
---@field new integer  where in `text` the part begins that on_chunk has not seen before
---@field final boolean  nothing follows
---@field choice integer  index of the choice, from 0
---@field channel "content"|"reasoning"
---@field state table  the plugin's own, for this output of this stream
local Chunk = {}

--- Holds at least n characters back this time.
---
--- Phases: on_chunk
--- Since: 1
---@param n integer
function Chunk:keep(n) end

--- Ends the stream with a typed error.
---
--- Phases: on_chunk
--- Since: 1
---@param reason? { code?: string, message?: string }
---@return moongate.Outcome
function Chunk:stop(reason) end
