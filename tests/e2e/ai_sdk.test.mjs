// Vercel's AI SDK, unmodified, over strict vendors of other dialects: texts, streams, tools over several turns, objects.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { start } from "../support/stage.mjs";

const BOTH = [["get_weather", { city: "Kiel" }], ["get_weather", { city: "Bern" }]];
const WEATHER = { city: "Kiel", degrees: 12 };
const Weather = z.object({ city: z.string(), degrees: z.number() });
const tools = { get_weather: tool({ description: "The weather of a city.", inputSchema: z.object({ city: z.string() }), execute: ({ city }) => `${city}: 12 degrees` }) };

let stage, models;
before(async () => {
  stage = await start();
  const { url, key: apiKey } = stage;
  const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey }), claude = createAnthropic({ baseURL: `${url}/v1`, apiKey });
  const google = createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey });
  models = { openai_chat: openai.chat, openai_responses: openai.responses, anthropic: claude, gemini: google };
});
after(() => stage.close());

// run(model, vendor) for every pair of different dialects; the vendor refused nothing.
async function each(turns, run) {
  for (const [own, make] of Object.entries(models)) {
    for (const [name, vendor] of Object.entries(stage.vendors)) {
      if (name === own) continue;
      await vendor.say(...turns);
      try {
        await run(make(name), vendor);
      } catch (error) {
        error.message = `${own} over ${name}: ${error.message}; refused: ${(await vendor.look()).refused}`;
        throw error;
      }
      assert.deepEqual((await vendor.look()).refused, [], `${own} over ${name}`);
    }
  }
}

const sent = async (vendor) => JSON.stringify((await vendor.look()).body);

test("a text", () => each([{ text: "Hello there." }], async (model, vendor) => {
  const { text, finishReason, usage } = await generateText({ model, instructions: "Be brief.", prompt: "Hi", maxRetries: 0 });
  assert.deepEqual([text, finishReason, usage.inputTokens, usage.outputTokens], ["Hello there.", "stop", 109, 12]);
  assert.match(await sent(vendor), /Be brief\./);
}));

test("a stream", () => each([{ text: "Hello there, all of you.", pieces: 5 }], async (model) => {
  const result = streamText({ model, prompt: "Hi", maxRetries: 0 });
  const pieces = [];
  for await (const piece of result.textStream) pieces.push(piece);
  assert.equal(pieces.join(""), "Hello there, all of you.");
  assert.ok(pieces.length > 3);
  assert.equal(await result.finishReason, "stop");
  assert.equal((await result.usage).outputTokens, 12);
}));

test("tools over several turns", () => each([{ text: "Looking.", calls: BOTH }, { calls: BOTH }, { text: "Warm both." }], async (model, vendor) => {
  const { text, steps } = await generateText({ model, tools, prompt: "Weather?", stopWhen: stepCountIs(5), maxRetries: 0 });
  assert.equal(text, "Warm both.");
  assert.deepEqual(steps.map((step) => step.toolCalls.map((call) => [call.toolName, call.input])), [BOTH, BOTH, []]);
  assert.match(await sent(vendor), /Kiel: 12 degrees.*Bern: 12 degrees/);
}));

test("tools out of streams", () => each([{ text: "Looking.", calls: BOTH }, { text: "Warm both." }], async (model, vendor) => {
  const result = streamText({ model, tools, prompt: "Weather?", stopWhen: stepCountIs(5), maxRetries: 0 });
  const kinds = [];
  for await (const part of result.fullStream) {
    assert.notEqual(part.type, "error", String(part.error));
    kinds.push(part.type);
  }
  assert.equal(kinds.filter((kind) => kind === "tool-call").length, 2);
  assert.equal(await result.text, "Warm both.");
  assert.match(await sent(vendor), /Kiel: 12 degrees.*Bern: 12 degrees/);
}));

test("reasoning is told and comes back", () => each([{ thought: "Hm.", text: "Looking.", calls: BOTH }, { text: "Warm both." }], async (model) => {
  const providerOptions = { openai: { reasoningEffort: "high", reasoningSummary: "auto", store: false, forceReasoning: true }, anthropic: { thinking: { type: "enabled", budgetTokens: 2000 } },
    google: { thinkingConfig: { includeThoughts: true, thinkingLevel: "high" } } };
  const { text } = await generateText({ model, tools, prompt: "Weather?", stopWhen: stepCountIs(5), providerOptions, maxRetries: 0 });
  assert.equal(text, "Warm both.");
}));

test("an object after a schema", () => each([{ text: JSON.stringify(WEATHER) }], async (model) => {
  const { output } = await generateText({ model, output: Output.object({ schema: Weather }), prompt: "Weather as JSON?", maxRetries: 0 });
  assert.deepEqual(output, WEATHER);
}));

test("an error says which vendor's words it is in, and is tried again when it may be", async () => {
  await each([{ fail: "bad" }], (model) => assert.rejects(generateText({ model, prompt: "Hi", maxRetries: 2 }), (error) => {
    assert.equal(error.name, "AI_APICallError");
    assert.deepEqual([error.statusCode, error.isRetryable], [400, false]);
    assert.match(error.message, /as the test wants it/);
    return true;
  }));
  await each([{ fail: "rate", headers: { retry_after_ms: "50" } }, { text: "Hello" }], async (model) => {
    assert.equal((await generateText({ model, prompt: "Hi", maxRetries: 1 })).text, "Hello");
  });
});

test("a stream that breaks tells of an error", () => each([{ text: "Hello there", breaks: "error" }], async (model) => {
  const result = streamText({ model, prompt: "Hi", maxRetries: 0, onError: () => {} });
  const parts = [];
  await assert.rejects(async () => { for await (const part of result.fullStream) parts.push(part); }); // the connection ends without its end
  assert.equal(parts.filter((part) => part.type === "text-delta").map((part) => part.text).join(""), "Hello there");
  assert.match(parts.at(-1).error.message, /failed with/);
}));

test("many at once: each reads its own answer", async () => {
  for (const vendor of Object.values(stage.vendors)) await vendor.say("echo");
  const pairs = Object.entries(models).flatMap(([own, make]) => Object.keys(stage.vendors).filter((name) => name !== own).map((name) => make(name)));
  await Promise.all([...pairs, ...pairs, ...pairs].map(async (model, number) => {
    assert.equal((await generateText({ model, prompt: `Which? word-${number}`, maxRetries: 0 })).text, `It is word-${number}.`);
  }));
});
