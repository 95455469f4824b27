---@meta moongate.dialect

--- What a file in `lua/dialects` returns: how one way of speaking about a conversation is read into the neutral one and
--- written from it. The core calls it when a client's dialect is not the provider's; where both are the same, bytes are
--- passed on and none of this runs. Functions are pure: they keep nothing between calls and reach nothing but their
--- arguments.
---
--- JSON null is `moongate.json.null`. Values at the paths of `raw` arrive as JSON text, so that the order of keys and the
--- spelling of numbers survive: `json.text(value)` gives the text, `json.raw(text)` makes such a value, and both are
--- written as they are.
---@class moongate.Dialect
---@field name string  as adapters and surfaces name it
---@field label string  its name for people
---@field raw { request: string[], answer: string[], event: string[] }  paths that stay JSON text; `[*]` is every element
---@field request? { messages: string, system?: string, content: string, texts: string[] }  where the core finds text for plugins
---@field fields moongate.dialect.Fields  one row per field of a request, from `dialect.fields()`
---@field read_request? fun(body: table, ctx: moongate.dialect.Context): moongate.dialect.Chat
---@field write_request fun(chat: moongate.dialect.Chat, ctx: moongate.dialect.Context): table, moongate.dialect.Memo?
---@field read_answer fun(body: table, ctx: moongate.dialect.Context): moongate.dialect.Answer
---@field write_answer? fun(answer: moongate.dialect.Answer, ctx: moongate.dialect.Context): table
---@field tasks? { [string]: moongate.dialect.Task }  what else is asked of its models: `count` (tokens), `embed`
---@field finish_reasons { [string]: moongate.dialect.Finish }  its own reasons → neutral ones
---@field read_event fun(name: string, data: table, stream: table): moongate.dialect.Delta[]  for events with something `rare`
---@field stream? moongate.dialect.Writer  how a stream is written for its clients
---@field references? string[]  paths in a request of what one account keeps
---@field headers? string[]  how headers begin that only its vendor understands
---@field error? moongate.dialect.Error  how an error is written for its clients

--- As the four functions above, with a neutral form of its own: `count` is asked with a conversation and answered with
--- `{ tokens }`; `embed` is asked with `{ inputs, dimensions, memo }` and answered with `{ vectors, tokens }`, a vector being
--- its JSON text. Each is only there where its dialect is spoken in that direction.
---@class moongate.dialect.Task
---@field read_request? fun(body: table, ctx: moongate.dialect.Context): table
---@field write_request? fun(asked: table, ctx: moongate.dialect.Context): table, table?
---@field read_answer? fun(body: table, ctx: moongate.dialect.Context): table
---@field write_answer? fun(answer: table, ctx: moongate.dialect.Context): table

--- A row says what a field of a request means; the head of `lua/moongate/dialect.lua` shows the kinds.
---@class moongate.dialect.Field
---@field [1] string|false  the field, `a.b` for a member; false when the dialect has no field and `keeps` says why that is right
---@field param? string  the parameter of `dialect.params` it is another name of
---@field type? "integer"|"number"|"boolean"|"string"|"list"  what it must be
---@field min? number  the least that is written
---@field max? number  the most that is written
---@field read? { [any]: any }  its words → neutral ones; others stay
---@field write? { [any]: any }  neutral words → its own; others stay, or are dropped when `closed`
---@field closed? boolean
---@field unless? any  the value that asks for nothing
---@field keeps? any  the value that is what happens anyway
---@field drop? boolean  a hint nobody else takes
---@field refuse? string  why no other dialect can do it
---@field always? boolean  refused for lenient clients, too
---@field code? string  the code of that error, if clients go by one of their own
---@field quiet? boolean  has no meaning of its own behind the gateway
---@field native? boolean  taken from clients of other dialects as well
---@field doc? string  what the dialect's own code makes of it

---@class moongate.dialect.Fields
---@field dialect string
---@field label string
---@field [integer] moongate.dialect.Field

---@class moongate.dialect.Context
---@field model string  the name to send upstream
---@field asked_model? string  the name the client gave
---@field vendor string  the adapter of the provider
---@field provider string  the provider's dialect
---@field client string  the client's dialect
---@field stream boolean
---@field lenient boolean  what changes the answer is dropped, not refused
---@field include_usage? boolean  the client wants usage in its stream
---@field id string  of the answer, without a prefix
---@field created integer  seconds since 1970
---@field caps { max_output?: integer, prefill: boolean, reasoning?: boolean, refuses?: string }  what is known about the model; `refuses`: words
---@field memo? moongate.dialect.Memo  what `write_request` left for the answer
---@field drop fun(field: string)  was left out: the client is told in a header
---@field warn fun(text: string)  was changed: the client is told in a header
---@field refuse fun(param: string, message: string, always?: boolean, code?: string)  400; returns for lenient clients unless `always`

--- What the answer's side must know of the request.
---@class moongate.dialect.Memo
---@field renamed? { [string]: string }  names of tools as sent → as the client gave them
---@field custom? { [string]: true }  the client's free-form tools
---@field asked? table  what an answer of the client's dialect repeats
---@field wrapped? boolean  the provider got those as a schema with one string

---- the neutral conversation

---@class moongate.dialect.Chat
---@field dialect string  the one it was read from
---@field turns moongate.dialect.Turn[]
---@field tools? moongate.dialect.Tool[]  in the client's order
---@field custom? { [string]: true }  names of free-form tools
---@field tool_choice? { mode: "auto"|"none"|"required"|"tool", name?: string, allowed?: string[] }
---@field parallel_tools? false  at most one call per turn
---@field output? moongate.dialect.Output
---@field reasoning? moongate.dialect.Reasoning
---@field params { [string]: any }  by the names of `dialect.params`
---@field spelt { [string]: string }  the client's own field of a param, and of `output`, `tool_choice`, `reasoning`, …
---@field vendor { [string]: any }  fields that no row knows

--- Results of tools are parts of a user's turn. Turns of one role may follow one another.
---@class moongate.dialect.Turn
---@field role "system"|"developer"|"user"|"assistant"
---@field parts moongate.dialect.Part[]
---@field name? string

--- Members by `kind`:
--- `text` text, citations (raw), annotations · `refusal` text · `image` url or mime and data, detail · `document` text, url or
--- mime and data, name · `audio` data, format · `video` url or mime and data · `file` id, dialect · `tool_call` id, name,
--- arguments (JSON text, or the input of a free-form tool), custom, signature · `tool_result` id, name, parts, error ·
--- `reasoning` text, signature or redacted, id, dialect (whose state it is) · `vendor` dialect, type, json
---@class moongate.dialect.Part
---@field kind "text"|"refusal"|"image"|"document"|"audio"|"video"|"file"|"tool_call"|"tool_result"|"reasoning"|"vendor"
---@field text? string
---@field cache? moongate.dialect.Cache  a prefix ends here that is worth keeping

---@class moongate.dialect.Cache
---@field ttl? string  "5m", "1h", "30m", "12h"

---@class moongate.dialect.Tool
---@field kind "function"|"custom"|"vendor"
---@field name? string
---@field description? string
---@field schema? any  JSON text of a function's parameters
---@field format? any  JSON text of a free-form tool's format
---@field strict? boolean
---@field cache? moongate.dialect.Cache
---@field dialect? string  of a vendor's own tool …
---@field type? string
---@field json? any

---@class moongate.dialect.Output
---@field kind "json_schema"|"json_object"
---@field name? string
---@field schema? any  JSON text
---@field strict? boolean
---@field description? string

---@class moongate.dialect.Reasoning
---@field effort? string  none, minimal, low, medium, high, xhigh, max, or what a vendor thought of since
---@field budget? integer  tokens
---@field visible? boolean  the client wants to read it
---@field adaptive? boolean  the model weighs by itself

---- the answer

---@alias moongate.dialect.Finish "stop"|"stop_sequence"|"length"|"tool"|"filtered"|"pause"|"error"

---@class moongate.dialect.Choice
---@field parts moongate.dialect.Part[]
---@field finish moongate.dialect.Finish
---@field stop_sequence? string
---@field logprobs? table[]  as OpenAI tells them: { token, logprob, bytes, top_logprobs }

---@class moongate.dialect.Answer
---@field id? string
---@field model? string
---@field created? integer
---@field choices moongate.dialect.Choice[]
---@field usage? moongate.dialect.Usage

--- Input counts what came from a cache and went into one; output counts reasoning.
---@class moongate.dialect.Usage
---@field input integer
---@field output integer
---@field cached_read? integer
---@field cached_write? integer
---@field reasoning? integer
---@field input_audio? integer
---@field output_audio? integer

---- streams

--- What a provider's event says beside what the adapter's declaration finds: `text`, `reasoning`, `refusal` (text) ·
--- `tool` (tool: upstream's number, id, name, arguments) · `signature` (text, and `tool` when it belongs to a call) ·
--- `redacted` (data) · `annotation` (url, title) · `finish` (reason) · `stop_sequence` (text).
---@class moongate.dialect.Delta
---@field kind string
---@field text? string
---@field choice? integer
---@field dialect? string  whose state it is

--- The state of one streamed answer: the members of the context, and what the functions keep in it.
--- What was sent of a stream. Parts are in their order; the last one may wait for its end (`open`). `before`: events that
--- end what was half ended.
---@class moongate.dialect.Resumed
---@field parts { kind: "text"|"reasoning"|"refusal"|"tool", text: string, id?: string, name?: string }[]  `text` of a call: its arguments
---@field open boolean
---@field before? string

---@class moongate.dialect.Stream: moongate.dialect.Context
---@field seq integer  the running number that `dialect.SEQ` writes

---@class moongate.dialect.Block
---@field kind "text"|"reasoning"|"refusal"|"tool"
---@field choice integer
---@field index integer  running number of the choice's blocks, from 0
---@field tool? integer  running number of the choice's calls, from 0
---@field id? string
---@field name? string
---@field signature? string  of a call, when it came with it
---@field json? string  its whole text as a JSON string: at `close`, when `wants_text` or when `open` gave no frame

--- Functions return the bytes of whole events. A frame is how each piece of a block's text is written: strings, with
--- `dialect.TEXT` where the piece's JSON string goes and `dialect.SEQ` for the running number. Without a frame the text is
--- kept until `close`.
---@class moongate.dialect.Writer
---@field one_block boolean  blocks follow one another; false: calls may be interleaved
---@field wants_text boolean  `close` gets the whole text
---@field comments? boolean  false: its SDKs cannot read a comment in a stream
---@field sequence? string  the member of each event that counts them
---@field resume fun(s: moongate.dialect.Stream, events: table[]): moongate.dialect.Resumed?  what a client has of a stream that broke off; `s` is then where `start`, `open` and `close` would have left it; nil: nobody can go on with it
---@field start fun(s: moongate.dialect.Stream): string
---@field open fun(s: moongate.dialect.Stream, block: moongate.dialect.Block): string, (string|integer)[]?
---@field close fun(s: moongate.dialect.Stream, block: moongate.dialect.Block): string
---@field opaque fun(s: moongate.dialect.Stream, delta: moongate.dialect.Delta): string
---@field finish fun(s: moongate.dialect.Stream, finish: { choice: integer, reason: moongate.dialect.Finish, stop_sequence?: string, usage?: moongate.dialect.Usage }): string
---@field done fun(s: moongate.dialect.Stream, usage?: moongate.dialect.Usage): string

--- Executed by the core. `body` is a frame with `dialect.MESSAGE`, `TYPE`, `CODE`, `PARAM` (JSON strings or null) and
--- `STATUS` (a number).
---@class moongate.dialect.Error
---@field body (string|integer)[]
---@field types { [integer|"default4"|"default5"]: string }  the error's type by status
---@field statuses? { [integer]: integer }  what clients see instead
---@field event? string  name of the event of an error inside a stream
---@field stream? (string|integer)[]  its data, where it is another than `body`
