// The vendors' official SDKs for Node, unmodified, in front of `moongate sim`, which speaks Chat Completions: each asks in its
// own dialect for a text, a stream, tool calls and an answer after a schema.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { FunctionCallingConfigMode, GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const bin = process.env.MOONGATE_BIN;
const model = "chat", question = "What is a moon gate?";
const schema = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"], additionalProperties: false };
const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
let folder, gateway, openai, anthropic, gemini;

function firstMatch(child, pattern) {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stderr.on("data", (data) => {
      text += data;
      const found = text.match(pattern);
      if (found) resolve(found);
    });
    child.once("exit", () => reject(new Error(`the gateway ended:\n${text}`)));
  });
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "moongate-test-"));
  mkdirSync(join(folder, "projects"));
  writeFileSync(join(folder, "gateway.lua"), 'return { listen = "127.0.0.1:0", admin = "127.0.0.1:0", workers = 2, data_dir = "data" }');
  writeFileSync(join(folder, "projects", "main.lua"), `return {
    providers = { sim = { kind = "simulated" } },
    workflows = { chat = { targets = { "sim/fault:overloaded", "sim/model" } }, broken = { targets = { "sim/fault:cut" } } },
  }`);
  gateway = spawn(bin, ["serve", "-c", folder], { stdio: ["ignore", "ignore", "pipe"] });
  const [, port] = await firstMatch(gateway, /listening address=\S+:(\d+)[\s\S]* ready /);
  const apiKey = JSON.parse(execFileSync(bin, ["key", "create", "--project", "main", "--json", "--data", join(folder, "data")])).key;
  const home = `http://127.0.0.1:${port}`;
  openai = new OpenAI({ baseURL: `${home}/v1`, apiKey, maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: home, apiKey, maxRetries: 0 });
  gemini = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: home, apiVersion: "v1beta" } });
});

after(async () => {
  gateway.kill("SIGTERM");
  const code = await new Promise((resolve) => gateway.once("exit", resolve));
  rmSync(folder, { recursive: true });
  assert.equal(code, 0);
});

function isPerson(text) {
  const person = JSON.parse(text);
  return typeof person.name === "string" && Number.isInteger(person.age);
}

test("Responses: a whole answer and a stream, numbered without a gap", async () => {
  const whole = await openai.responses.create({ model, input: question });
  let text = "", number = 0, last;
  for await (const event of await openai.responses.create({ model, input: question, stream: true })) {
    assert.equal(event.sequence_number, number++);
    if (event.type === "response.output_text.delta") text += event.delta;
    last = event;
  }

  assert.ok(whole.output_text.length > 0);
  assert.ok(whole.usage.total_tokens > 0);
  assert.equal(last.type, "response.completed");
  assert.equal(last.response.output[0].content[0].text, text);
});

test("Responses: a tool call and an answer after a schema", async () => {
  const tools = [{ type: "function", name: "get_weather", parameters: city, strict: false }];
  const called = await openai.responses.stream({ model, input: question, tools, tool_choice: "required" }).finalResponse();
  const call = called.output.find((item) => item.type === "function_call");
  const person = await openai.responses.create({ model, input: question, text: { format: { type: "json_schema", name: "person", strict: true, schema } } });

  assert.equal(call.name, "get_weather");
  assert.equal(typeof JSON.parse(call.arguments).city, "string");
  assert.ok(isPerson(person.output_text));
});

test("Anthropic: a whole answer and a stream", async () => {
  const messages = [{ role: "user", content: question }];
  const whole = await anthropic.messages.create({ model, max_tokens: 1000, messages });
  const stream = anthropic.messages.stream({ model, max_tokens: 1000, messages });
  let text = "";
  stream.on("text", (piece) => { text += piece; });
  const message = await stream.finalMessage();

  assert.equal(whole.stop_reason, "end_turn");
  assert.ok(whole.usage.output_tokens > 0);
  assert.equal(message.content[0].text, text);
  assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
});

test("Anthropic: a tool call", async () => {
  const tools = [{ name: "get_weather", input_schema: city }];
  const message = await anthropic.messages.stream({ model, max_tokens: 1000, messages: [{ role: "user", content: question }], tools,
    tool_choice: { type: "any" } }).finalMessage();
  const call = message.content.find((block) => block.type === "tool_use");

  assert.equal(message.stop_reason, "tool_use");
  assert.equal(call.name, "get_weather");
  assert.equal(typeof call.input.city, "string");
});

test("Gemini: a whole answer and a stream", async () => {
  const whole = await gemini.models.generateContent({ model, contents: question });
  let text = "", last;
  for await (const piece of await gemini.models.generateContentStream({ model, contents: question })) {
    text += piece.text ?? "";
    last = piece;
  }

  assert.ok(whole.text.length > 0);
  assert.equal(whole.candidates[0].finishReason, "STOP");
  assert.ok(text.length > 0);
  assert.ok(last.usageMetadata.totalTokenCount > 0);
});

test("Gemini: a tool call and an answer after a schema", async () => {
  const config = { tools: [{ functionDeclarations: [{ name: "get_weather", parametersJsonSchema: city }] }],
    toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY } } };
  const called = await gemini.models.generateContent({ model, contents: question, config });
  const person = await gemini.models.generateContent({ model, contents: question,
    config: { responseMimeType: "application/json", responseJsonSchema: schema } });

  assert.equal(called.functionCalls[0].name, "get_weather");
  assert.equal(typeof called.functionCalls[0].args.city, "string");
  assert.ok(isPerson(person.text));
});

test("a broken stream raises in every SDK instead of ending", async () => {
  const ends = {
    responses: async () => { for await (const event of await openai.responses.create({ model: "broken", input: question, stream: true })) void event; },
    messages: () => anthropic.messages.stream({ model: "broken", max_tokens: 1000, messages: [{ role: "user", content: question }] }).finalMessage(),
    gemini: async () => { for await (const piece of await gemini.models.generateContentStream({ model: "broken", contents: question })) void piece; },
  };

  for (const end of Object.values(ends)) await assert.rejects(end);
});

test("errors raise the class each SDK has for them", async () => {
  await assert.rejects(openai.responses.create({ model: "nope", input: question }), OpenAI.NotFoundError);
  await assert.rejects(anthropic.messages.create({ model: "nope", max_tokens: 10, messages: [{ role: "user", content: question }] }), Anthropic.NotFoundError);
  await assert.rejects(gemini.models.generateContent({ model: "nope", contents: question }), { status: 404 });
});
