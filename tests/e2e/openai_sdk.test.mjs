// The official OpenAI SDK for Node, unmodified, against the real binary in front of `moongate sim`.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import OpenAI from "openai";

const bin = process.env.MOONGATE_BIN;
let folder, gateway, client;

function firstMatch(child, pattern) {
  return new Promise((resolve, reject) => {
    let text = "";
    const look = (data) => {
      text += data;
      const found = text.match(pattern);
      if (found) resolve(found);
    };
    child.stderr.on("data", look);
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
    allow_direct = true,
  }`);
  gateway = spawn(bin, ["serve", "-c", folder], { stdio: ["ignore", "ignore", "pipe"] });
  const [, port] = await firstMatch(gateway, /listening address=\S+:(\d+)[\s\S]* ready /);
  const key = JSON.parse(execFileSync(bin, ["key", "create", "--project", "main", "--json", "--data", join(folder, "data")])).key;
  client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: key, maxRetries: 0 });
});

after(async () => {
  gateway.kill("SIGTERM");
  const code = await new Promise((resolve) => gateway.once("exit", resolve));
  rmSync(folder, { recursive: true });
  assert.equal(code, 0);
});

const messages = [{ role: "user", content: "What is a moon gate?" }];

test("a whole answer arrives from the second provider", async () => {
  const { data, response } = await client.chat.completions.create({ model: "chat", messages }).withResponse();

  assert.ok(data.choices[0].message.content.length > 0);
  assert.ok(data.usage.total_tokens > 0);
  assert.equal(response.headers.get("x-moongate-attempts"), "2");
});

test("a stream arrives in pieces and ends", async () => {
  const stream = await client.chat.completions.create({ model: "chat", messages, stream: true });
  let text = "", pieces = 0;
  for await (const event of stream) {
    text += event.choices[0].delta.content ?? "";
    pieces++;
  }

  assert.ok(pieces > 3);
  assert.ok(text.length > 0);
});

test("the stream helper collects tool calls", async () => {
  const tools = [{ type: "function", function: { name: "get_weather", parameters: {
    type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }];
  const done = await client.chat.completions.stream({ model: "chat", messages, tools, tool_choice: "required" }).finalChatCompletion();
  const call = done.choices[0].message.tool_calls[0];

  assert.equal(call.function.name, "get_weather");
  assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
});

test("structured output satisfies its schema", async () => {
  const schema = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"], additionalProperties: false };
  const answer = await client.chat.completions.create({ model: "chat", messages,
    response_format: { type: "json_schema", json_schema: { name: "person", strict: true, schema } } });
  const person = JSON.parse(answer.choices[0].message.content);

  assert.equal(typeof person.name, "string");
  assert.ok(Number.isInteger(person.age));
});

test("a broken stream raises instead of ending", async () => {
  const stream = await client.chat.completions.create({ model: "broken", messages, stream: true });

  await assert.rejects(async () => { for await (const event of stream) void event; }, /truncated_stream|stream/);
});

test("embeddings and models answer", async () => {
  const { data } = await client.embeddings.create({ model: "sim/embedder", input: ["a", "b"] });
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);

  assert.equal(data.length, 2);
  assert.ok(data[0].embedding.length > 1);
  assert.ok(ids.includes("chat"));
});

test("errors raise the class the SDK has for them", async () => {
  await assert.rejects(client.chat.completions.create({ model: "nope", messages }), OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ model: "sim/fault:invalid_request", messages }), OpenAI.BadRequestError);
  await assert.rejects(client.chat.completions.create({ model: "sim/fault:rate_limited", messages }), OpenAI.RateLimitError);
  await assert.rejects(new OpenAI({ baseURL: client.baseURL, apiKey: "mg-main-x", maxRetries: 0 }).models.list(), OpenAI.AuthenticationError);
});

test("a timeout of the client cancels the call", async () => {
  await assert.rejects(client.chat.completions.create({ model: "sim/fault:hang", messages }, { timeout: 300 }), OpenAI.APIConnectionTimeoutError);
});
