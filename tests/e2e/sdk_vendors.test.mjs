// The vendors' SDKs for Node over every vendor, strict (tests/support/vendors): all that the SDKs for Python are held to.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { jsonSchemaOutputFormat } from "@anthropic-ai/sdk/helpers/json-schema";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ALL, PDF, PNG, anthropic, gemini, openaiChat, openaiResponses } from "../support/sdks.mjs";
import { start } from "../support/stage.mjs";

const USAGE = [109, 100, 12];
const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const TOOLS = [["get_weather", CITY], ["now", { type: "object", properties: {} }]];
const CALLS = [["get_weather", { city: "Kiel" }], ["now", {}]];
const BOTH = [["get_weather", { city: "Kiel" }], ["get_weather", { city: "Bern" }]];
const WEATHER = { city: "Kiel", degrees: 12 };
const SCHEMA = { type: "object", properties: { city: { type: "string" }, degrees: { type: "integer" } }, required: ["city", "degrees"], additionalProperties: false };
const Weather = z.object({ city: z.string(), degrees: z.number() });
const getWeather = ({ city }) => `${city}: 12 degrees`;
const user = [{ role: "user", content: "Weather as JSON?" }];

let stage;
before(async () => { stage = await start(); });
after(() => stage.close());

// do(client, vendor's name, what it is ready to say, streams) for every pair, whole and streamed; the vendor refused nothing.
async function each(turns, run, clients = ALL) {
  for (const make of clients) {
    const client = make(stage);
    for (const [name, vendor] of Object.entries(stage.vendors)) {
      for (const streams of [false, true]) {
        await vendor.say(...turns);
        try {
          await run(client, name, streams, vendor);
        } catch (error) {
          error.message = `${client.name} over ${name}, ${streams ? "streamed" : "whole"}: ${error.message}; refused: ${(await vendor.look()).refused}`;
          throw error;
        }
      }
    }
  }
}

// run(vendor's name, vendor) for each vendor but the SDK's own.
async function over(own, turns, run) {
  for (const [name, vendor] of Object.entries(stage.vendors)) {
    if (name === own) continue;
    await vendor.say(...turns);
    try {
      await run(name, vendor);
    } catch (error) {
      error.message = `over ${name}: ${error.message}; refused: ${(await vendor.look()).refused}`;
      throw error;
    }
  }
}

const named = (calls) => calls.map(({ name, args }) => [name, args]);
const sent = async (vendor) => JSON.stringify((await vendor.look()).body);

test("a text", () => each([{ text: "Hello there, wörld 🎈" }], async (client, name, streams) => {
  const { text, finish, calls, usage } = await client.ask(name, client.user("hi"), { streams });
  assert.deepEqual([text, finish, calls, usage], ["Hello there, wörld 🎈", "stop", [], USAGE]);
}));

test("a system's turn and several of the user's", () => each([{ text: "Blue." }, { text: "Because." }], async (client, name, streams, vendor) => {
  let history = [...client.system("Be brief."), ...client.user("Which?")];
  history = [...history, ...(await client.ask(name, history, { streams })).turn, ...client.user("Why?")];
  assert.equal((await client.ask(name, history, { streams })).text, "Because.");
  const body = await sent(vendor);
  const places = ["Which?", "Blue.", "Why?"].map((words) => body.indexOf(words));
  assert.deepEqual(places, places.toSorted((a, b) => a - b));
  assert.equal(body.split("Be brief.").length, 2);
}));

test("tools side by side, their results, and another round", () => each(
  [{ text: "Let me see.", calls: CALLS }, { calls: BOTH }, { text: "Warm." }], async (client, name, streams, vendor) => {
    let history = client.user("Weather?");
    for (const wanted of [CALLS, BOTH]) {
      const answer = await client.ask(name, history, { streams, tools: TOOLS });
      assert.deepEqual([named(answer.calls), answer.finish, answer.usage], [wanted, "tool", USAGE]);
      history = [...history, ...answer.turn, ...client.results(answer.calls, ["first result", "second result"])];
    }
    assert.equal((await client.ask(name, history, { streams, tools: TOOLS })).text, "Warm.");
    assert.equal((await sent(vendor)).split("second result").length, 3);
  }));

test("an image and a document", () => each([{ text: "A dot." }], async (client, name, streams, vendor) => {
  assert.equal((await client.ask(name, client.user("What is it?", PNG, PDF), { streams })).text, "A dot.");
  const body = await sent(vendor);
  assert.ok(body.includes(PNG) && body.includes(PDF));
}));

test("an answer after a schema", () => each([{ text: JSON.stringify(WEATHER) }], async (client, name, streams, vendor) => {
  assert.deepEqual(JSON.parse((await client.ask(name, client.user("Weather as JSON?"), { streams, schema: SCHEMA })).text), WEATHER);
  assert.match(await sent(vendor), /"degrees"/);
}));

test("reasoning, tools and the vendor's own state over several turns", () => each(
  [{ thought: "First one.", calls: CALLS }, { thought: "Now the other.", text: "Then", calls: BOTH }, { text: "Done." }],
  async (client, name, streams) => {
    let history = client.user("Do it");
    for (const [thought, text, calls] of [["First one.", "", CALLS], ["Now the other.", "Then", BOTH]]) {
      const answer = await client.ask(name, history, { streams, tools: TOOLS, effort: "high" });
      assert.deepEqual([answer.thought, answer.text, named(answer.calls)], [name === "openai_chat" ? "" : thought, text, calls]);
      history = [...history, ...answer.turn, ...client.results(answer.calls, ["a", "b"])];
    }
    assert.equal((await client.ask(name, history, { streams, tools: TOOLS, effort: "high" })).text, "Done.");
  }));

test("an answer that was cut for its length", () => each([{ text: "Once upon", finish: "length" }], async (client, name, streams) => {
  const { text, finish, usage } = await client.ask(name, client.user("Tell"), { streams, maxTokens: 300 });
  assert.deepEqual([text, finish, usage], ["Once upon", "length", USAGE]);
}));

test("a refusal", () => each([{ text: "I will not.", finish: "refusal" }], async (client, name, streams) => {
  const { text, finish } = await client.ask(name, client.user("Do evil"), { streams });
  assert.deepEqual([text, finish], [name === "gemini" ? "" : "I will not.", "refusal"]);
}));

test("a stream that breaks raises in the middle", async () => {
  for (const breaks of ["cut", "error"])
    await each([{ text: "Hello there", breaks }], async (client, name, streams) => {
      if (streams && !(name === "gemini" && breaks === "cut")) // which has no last event
        await assert.rejects(client.ask(name, client.user("hi"), { streams }), (error) => error instanceof Error && !(error instanceof SyntaxError));
    });
});

test("errors raise the class each SDK has for them, with what went wrong", async () => {
  for (const [kind, status, wanted] of [["bad", 400, /as the test wants it/], ["context", 400, /./], ["overloaded", 500, /./], ["server", 500, /./]])
    await each([{ fail: kind }], (client, name, streams) => assert.rejects(client.ask(name, client.user("hi"), { streams }), (error) => {
      assert.ok(status === 400 ? error.status === 400 : error.status >= 500, `${kind}: ${error.status}`);
      assert.ok(error instanceof client.classes[status], `${kind}: ${error.constructor.name}`);
      assert.match(error.message, wanted);
      if (kind === "context" && client.name.startsWith("openai")) assert.equal(error.code, "context_length_exceeded");
      if (kind === "context" && client.name === "anthropic") assert.equal(error.error.error.type, "invalid_request_error");
      return true;
    }));
  for (const make of ALL) {
    const stranger = make({ ...stage, key: "mg_nobody" }), known = make(stage);
    await assert.rejects(stranger.ask("anthropic", stranger.user("hi")), (error) => error instanceof stranger.classes[401] && error.status === 401);
    await assert.rejects(known.ask("nothing-like-it", known.user("hi")), (error) => error instanceof known.classes[404] && error.status === 404);
  }
});

// ---- what the SDKs do beyond one call

test("OpenAI: parse() and zod", () => over("openai_chat", [{ text: JSON.stringify(WEATHER) }], async (model) => {
  const { sdk } = openaiChat(stage);
  const answer = await sdk.chat.completions.parse({ model, messages: user, response_format: zodResponseFormat(Weather, "weather") });
  assert.deepEqual(answer.choices[0].message.parsed, WEATHER);
}));

test("OpenAI: parse() reads the arguments of tools", () => over("openai_chat", [{ calls: BOTH }], async (model) => {
  const { sdk } = openaiChat(stage);
  const answer = await sdk.chat.completions.parse({ model, messages: user, tools: [zodFunction({ name: "get_weather", parameters: z.object({ city: z.string() }) })] });
  assert.deepEqual(answer.choices[0].message.tool_calls.map((call) => call.function.parsed_arguments), BOTH.map(([, args]) => args));
}));

test("OpenAI: stream() and what it tells on its way", () => over("openai_chat", [{ text: "It is warm in Kiel.", calls: CALLS }], async (model) => {
  const { sdk } = openaiChat(stage);
  const tools = TOOLS.map(([name, parameters]) => ({ type: "function", function: { name, parameters } }));
  const stream = sdk.chat.completions.stream({ model, messages: user, tools, stream_options: { include_usage: true } });
  const pieces = [], done = [];
  stream.on("content", (piece) => pieces.push(piece)).on("tool_calls.function.arguments.done", (call) => done.push([call.name, JSON.parse(call.arguments)]));
  const whole = await stream.finalChatCompletion();
  assert.equal(pieces.join(""), "It is warm in Kiel.");
  assert.ok(pieces.length > 2);
  assert.deepEqual(done, CALLS);
  assert.equal(whole.choices[0].finish_reason, "tool_calls");
  assert.equal((await stream.totalUsage()).total_tokens, 121);
}));

for (const streams of [false, true])
  test(`OpenAI: runTools() ${streams ? "over streams" : "until it is done"}`, () => over("openai_chat", [{ text: "Looking.", calls: BOTH }, { text: "Warm both." }], async (model, vendor) => {
    const { sdk } = openaiChat(stage);
    const tools = [{ type: "function", function: { name: "get_weather", parameters: CITY, function: getWeather, parse: JSON.parse } }];
    const runner = sdk.chat.completions.runTools({ model, messages: user, tools, stream: streams });
    assert.equal(await runner.finalContent(), "Warm both.");
    assert.match(await sent(vendor), /Kiel: 12 degrees.*Bern: 12 degrees/);
  }));

test("Responses: parse() and zod, whole and streamed", () => over("openai_responses", [{ text: JSON.stringify(WEATHER) }], async (model) => {
  const { sdk } = openaiResponses(stage);
  const request = { model, input: "Weather as JSON?", text: { format: zodTextFormat(Weather, "weather") } };
  assert.deepEqual((await sdk.responses.parse(request)).output_parsed, WEATHER);
  const stream = sdk.responses.stream(request), kinds = [], numbers = [];
  let text = "";
  stream.on("event", (event) => { kinds.push(event.type); numbers.push(event.sequence_number); });
  stream.on("response.output_text.delta", (event) => { text += event.delta; });
  assert.deepEqual((await stream.finalResponse()).output_parsed, WEATHER);
  assert.deepEqual(JSON.parse(text), WEATHER);
  assert.deepEqual(numbers, numbers.map((_, i) => i));
  assert.equal(kinds.at(-1), "response.completed");
}));

test("Anthropic: parse() after a schema", () => over("anthropic", [{ text: JSON.stringify(WEATHER) }], async (model) => {
  const { sdk } = anthropic(stage);
  const answer = await sdk.messages.parse({ model, max_tokens: 999, messages: user, output_config: { format: jsonSchemaOutputFormat(SCHEMA) } });
  assert.deepEqual(answer.parsed_output, WEATHER);
}));

test("Anthropic: stream() and what it tells on its way", () => over("anthropic", [{ text: "It is warm in Kiel.", calls: CALLS }], async (model) => {
  const { sdk } = anthropic(stage);
  const tools = TOOLS.map(([name, input_schema]) => ({ name, input_schema }));
  const stream = sdk.messages.stream({ model, max_tokens: 999, messages: user, tools });
  const pieces = [], blocks = [], inputs = [];
  stream.on("text", (piece) => pieces.push(piece)).on("inputJson", (piece) => inputs.push(piece)).on("contentBlock", (block) => blocks.push(block.type));
  const message = await stream.finalMessage();
  assert.equal(pieces.join(""), "It is warm in Kiel.");
  assert.deepEqual(blocks.filter((kind) => kind !== "redacted_thinking"), ["text", "tool_use", "tool_use"]); // Gemini's signature travels in one
  assert.ok(inputs.length > 0);
  assert.deepEqual(message.content.filter((block) => block.type === "tool_use").map(({ name, input }) => [name, input]), CALLS);
}));

for (const stream of [false, true])
  test(`Anthropic: toolRunner() ${stream ? "over streams" : "until it is done"}`, () => over("anthropic", [{ text: "Looking.", calls: BOTH }, { text: "Warm both." }], async (model, vendor) => {
    const { sdk } = anthropic(stage);
    const tool = betaTool({ name: "get_weather", description: "The weather.", inputSchema: CITY, run: getWeather });
    const runner = sdk.beta.messages.toolRunner({ model, max_tokens: 999, messages: user, tools: [tool], stream });
    assert.equal((await runner.runUntilDone()).content[0].text, "Warm both.");
    assert.match(await sent(vendor), /Kiel: 12 degrees.*Bern: 12 degrees/);
  }));

test("Gemini: a chat that calls functions by itself", () => over("gemini", [{ text: "Looking.", calls: BOTH }, { text: "Warm both." }], async (model, vendor) => {
  const { sdk } = gemini(stage);
  const tool = {
    tool: async () => ({ functionDeclarations: [{ name: "get_weather", parametersJsonSchema: CITY }] }),
    callTool: async (calls) => calls.map(({ id, name, args }) => ({ functionResponse: { id, name, response: { output: getWeather(args) } } })),
  };
  const chat = sdk.chats.create({ model, config: { tools: [tool] } });
  assert.equal((await chat.sendMessage({ message: "Weather?" })).text, "Warm both.");
  assert.match(await sent(vendor), /Kiel: 12 degrees.*Bern: 12 degrees/);
}));

// ---- patience

test("they come back when they are told to, in milliseconds", async () => {
  for (const make of [openaiChat, openaiResponses, anthropic]) {
    const client = make(stage, { maxRetries: 1 });
    await over(client.name, [{ fail: "rate", headers: { retry_after_ms: "150", retry_after: "1" } }, { text: "Hello" }], async (name, vendor) => {
      const began = performance.now();
      assert.equal((await client.ask(name, client.user("hi"))).text, "Hello");
      const took = performance.now() - began;
      assert.ok(took > 140 && took < 900, `${took} ms`);
      assert.equal((await vendor.look()).count, 2);
    });
  }
});

test("a slow down without retries raises the class for it", async () => {
  const client = openaiChat(stage);
  await over("openai_chat", [{ fail: "rate", headers: { retry_after_ms: "40" } }, { text: "Hello" }], async (name) => {
    await assert.rejects(client.ask(name, client.user("hi")), (error) => error instanceof OpenAI.RateLimitError && error.headers.get("retry-after-ms") > 0);
    await new Promise((resolve) => setTimeout(resolve, 60)); // its key rests
  });
});

test("who gives up, or leaves in the middle, ends the call to the vendor", async () => {
  for (const make of ALL) {
    const impatient = make(stage, { timeout: 400 }), client = make(stage), [timeout] = [{ openai_chat: OpenAI.APIConnectionTimeoutError,
      openai_responses: OpenAI.APIConnectionTimeoutError, anthropic: Anthropic.APIConnectionTimeoutError, gemini: Error }[client.name]];
    await over(client.name, [{ text: "never", breaks: "stall" }], async (name, vendor) => {
      await assert.rejects(impatient.ask(name, client.user("hi")), timeout);
      await vendor.closed();
      await leave(client, name);
      await vendor.closed();
    });
  }
});

async function leave({ name: dialect, sdk, user: said }, model) {
  const aborting = new AbortController(), { signal } = aborting;
  const stream = dialect === "openai_chat" ? await sdk.chat.completions.create({ model, messages: said("hi"), stream: true }, { signal })
    : dialect === "openai_responses" ? await sdk.responses.create({ model, input: said("hi"), store: false, stream: true }, { signal })
      : dialect === "anthropic" ? await sdk.messages.create({ model, max_tokens: 99, messages: said("hi"), stream: true }, { signal })
        : await sdk.models.generateContentStream({ model, contents: said("hi"), config: { abortSignal: signal } });
  let pieces = 0;
  try {
    for await (const piece of stream) if (piece && ++pieces === 1) aborting.abort();
  } catch (error) {
    assert.match(`${error.name} ${error.message}`, /abort/i);
  }
  assert.ok(pieces > 0);
}

test("many at once: each reads its own answer", async () => {
  for (const vendor of Object.values(stage.vendors)) await vendor.say("echo");
  let number = 0;
  const calls = ALL.map((make) => make(stage)).flatMap((client) => Object.keys(stage.vendors).flatMap((name) => [false, true].map((streams) => [client, name, streams])));
  await Promise.all([...calls, ...calls, ...calls, ...calls].map(async ([client, name, streams]) => {
    const word = `word-${number++}`;
    assert.equal((await client.ask(name, client.user(`Which? ${word}`), { streams })).text, `It is ${word}.`);
  }));
});
