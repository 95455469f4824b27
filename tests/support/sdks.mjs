// The vendors' SDKs for Node behind one face, as tests/support/vendors/sdks.py has it for Python: each speaks its own dialect,
// unmodified. A history is a list of the dialect's own items; user(), results() and an answer's `turn` give more of them.
//
// ask(model, history, { streams, tools, schema, effort, maxTokens }) → { thought, text, calls: [{ id, name, args }],
// finish: "stop" | "length" | "tool" | "refusal", usage: [all in, of it cached, all out], turn }
import Anthropic from "@anthropic-ai/sdk";
import { ApiError, GoogleGenAI, ThinkingLevel } from "@google/genai";
import OpenAI from "openai";

export const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
export const PDF = Buffer.from("%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").toString("base64");

const answerOf = (thought, text, calls, finish, usage, turn) => ({ thought, text, calls, finish, usage, turn });

export function openaiChat({ url, key }, options = {}) {
  const sdk = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, ...options });
  const add = (message, piece) => {
    for (const [name, value] of Object.entries(piece)) {
      if (value === null) continue;
      if (name === "tool_calls") {
        for (const { index, ...call } of value) {
          const calls = message.tool_calls ??= [];
          if (index === calls.length) calls.push(call);
          else calls[index].function.arguments += call.function.arguments;
        }
      } else if (name === "role" || !(name in message)) message[name] = value;
      else message[name] = Array.isArray(value) ? [...message[name], ...value] : message[name] + value;
    }
  };
  const collect = async (stream) => {
    const message = {};
    let finish, usage;
    for await (const event of stream) {
      usage = event.usage ?? usage;
      for (const choice of event.choices) {
        finish = choice.finish_reason ?? finish;
        add(message, choice.delta);
      }
    }
    if (message.content === "") delete message.content;
    return { message, finish, usage };
  };
  return {
    name: "openai_chat", sdk, failure: OpenAI.APIError, classes: { 400: OpenAI.BadRequestError, 401: OpenAI.AuthenticationError,
      404: OpenAI.NotFoundError, 429: OpenAI.RateLimitError, 500: OpenAI.InternalServerError },
    user: (text, image, document) => [{ role: "user", content: !image && !document ? text : [{ type: "text", text },
      ...(image ? [{ type: "image_url", image_url: { url: `data:image/png;base64,${image}` } }] : []),
      ...(document ? [{ type: "file", file: { filename: "a.pdf", file_data: `data:application/pdf;base64,${document}` } }] : [])] }],
    system: (content) => [{ role: "system", content }],
    results: (calls, outputs) => calls.map((call, i) => ({ role: "tool", tool_call_id: call.id, content: outputs[i] })),
    async ask(model, messages, { streams, tools, schema, effort, maxTokens } = {}) {
      const request = { model, messages, ...(tools && { tools: tools.map(([name, parameters]) => ({ type: "function", function: { name, description: "A tool.", parameters } })) }),
        ...(schema && { response_format: { type: "json_schema", json_schema: { name: "out", schema, strict: true } } }),
        ...(effort && { reasoning_effort: effort, ...(model !== "openai_chat" && { include_reasoning: true }) }), ...(maxTokens && { max_completion_tokens: maxTokens }) };
      let message, finish, usage;
      if (streams) {
        ({ message, finish, usage } = await collect(await sdk.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })));
      } else {
        const whole = await sdk.chat.completions.create(request);
        ({ message, finish_reason: finish } = whole.choices[0]);
        ({ usage } = whole);
      }
      const calls = (message.tool_calls ?? []).map((call) => ({ id: call.id, name: call.function.name, args: JSON.parse(call.function.arguments) }));
      finish = message.refusal || finish === "content_filter" ? "refusal" : finish === "tool_calls" ? "tool" : finish;
      return answerOf(message.reasoning_content ?? "", message.content ?? message.refusal ?? "", calls, finish,
        [usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens], [message]);
    },
  };
}

export function openaiResponses(place, options = {}) {
  const { sdk, failure, classes, system } = openaiChat(place, options);
  return {
    name: "openai_responses", sdk, failure, classes, system,
    user: (text, image, document) => [{ role: "user", content: !image && !document ? text : [{ type: "input_text", text },
      ...(image ? [{ type: "input_image", image_url: `data:image/png;base64,${image}`, detail: "auto" }] : []),
      ...(document ? [{ type: "input_file", filename: "a.pdf", file_data: `data:application/pdf;base64,${document}` }] : [])] }],
    results: (calls, outputs) => calls.map((call, i) => ({ type: "function_call_output", call_id: call.id, output: outputs[i] })),
    async ask(model, input, { streams, tools, schema, effort, maxTokens } = {}) {
      const request = { model, input, store: false,
        ...(tools && { tools: tools.map(([name, parameters]) => ({ type: "function", name, description: "A tool.", parameters, strict: false })) }),
        ...(schema && { text: { format: { type: "json_schema", name: "out", schema, strict: true } } }),
        ...(effort && { reasoning: { effort, summary: "auto" }, include: ["reasoning.encrypted_content"] }), ...(maxTokens && { max_output_tokens: maxTokens }) };
      let whole;
      if (streams) for await (const event of await sdk.responses.create({ ...request, stream: true })) whole = event.response ?? whole;
      else whole = await sdk.responses.create(request);
      const parts = whole.output.flatMap((item) => (item.type === "message" ? item.content : []));
      const calls = whole.output.filter((item) => item.type === "function_call").map((item) => ({ id: item.call_id, name: item.name, args: JSON.parse(item.arguments) }));
      const refused = parts.some((part) => part.type === "refusal") || whole.incomplete_details?.reason === "content_filter";
      return answerOf(whole.output.flatMap((item) => (item.type === "reasoning" ? item.summary.map((part) => part.text) : [])).join(""),
        parts.map((part) => part.refusal ?? part.text).join(""), calls,
        refused ? "refusal" : whole.status === "incomplete" ? "length" : calls.length ? "tool" : "stop",
        [whole.usage.input_tokens, whole.usage.input_tokens_details.cached_tokens, whole.usage.output_tokens], whole.output);
    },
  };
}

export function anthropic({ url, key }, options = {}) {
  const sdk = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0, ...options });
  return {
    name: "anthropic", sdk, failure: Anthropic.APIError, classes: { 400: Anthropic.BadRequestError, 401: Anthropic.AuthenticationError,
      404: Anthropic.NotFoundError, 429: Anthropic.RateLimitError, 500: Anthropic.InternalServerError },
    user: (text, image, document) => [{ role: "user", content: !image && !document ? text : [{ type: "text", text },
      ...(image ? [{ type: "image", source: { type: "base64", media_type: "image/png", data: image } }] : []),
      ...(document ? [{ type: "document", source: { type: "base64", media_type: "application/pdf", data: document } }] : [])] }],
    system: (text) => [{ system: text }],
    results: (calls, outputs) => [{ role: "user", content: calls.map((call, i) => ({ type: "tool_result", tool_use_id: call.id, content: outputs[i] })) }],
    async ask(model, history, { streams, tools, schema, effort, maxTokens } = {}) {
      const systems = history.filter((each) => each.system).map((each) => ({ type: "text", text: each.system }));
      const request = { model, max_tokens: maxTokens ?? 4096, messages: history.filter((each) => !each.system), ...(systems.length && { system: systems }),
        ...(tools && { tools: tools.map(([name, input_schema]) => ({ name, description: "A tool.", input_schema })) }),
        ...(schema && { output_config: { format: { type: "json_schema", schema } } }), ...(effort && { thinking: { type: "enabled", budget_tokens: 2048 } }) };
      const message = streams ? await sdk.messages.stream(request).finalMessage() : await sdk.messages.create(request);
      const texts = (kind) => message.content.filter((block) => block.type === kind).map((block) => block[kind]).join("");
      const calls = message.content.filter((block) => block.type === "tool_use").map(({ id, name, input }) => ({ id, name, args: input }));
      const cached = message.usage.cache_read_input_tokens ?? 0;
      return answerOf(texts("thinking"), texts("text"), calls, { end_turn: "stop", max_tokens: "length", tool_use: "tool" }[message.stop_reason] ?? message.stop_reason,
        [message.usage.input_tokens + cached, cached, message.usage.output_tokens],
        [{ role: "assistant", content: message.content.map(({ parsed_output, ...block }) => block) }]);
    },
  };
}

export function gemini({ url, key }, options = {}) {
  const sdk = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: url, ...options } });
  // A text in pieces is one text; what is signed stays apart.
  const joined = (parts) => parts.reduce((found, part) => {
    const before = found.at(-1);
    if (before?.text !== undefined && part.text !== undefined && !part.thoughtSignature && !before.thoughtSignature && before.thought === part.thought)
      found.splice(-1, 1, { ...before, text: before.text + part.text });
    else if (part.text !== "" || part.thoughtSignature) found.push(part);
    return found;
  }, []);
  return {
    name: "gemini", sdk, failure: ApiError, classes: { 400: ApiError, 401: ApiError, 404: ApiError, 429: ApiError, 500: ApiError },
    user: (text, image, document) => [{ role: "user", parts: [{ text }, ...(image ? [{ inlineData: { mimeType: "image/png", data: image } }] : []),
      ...(document ? [{ inlineData: { mimeType: "application/pdf", data: document } }] : [])] }],
    system: (text) => [{ system: text }],
    results: (calls, outputs) => [{ role: "user", parts: calls.map(({ id, name }, i) => ({ functionResponse: { id, name, response: { output: outputs[i] } } })) }],
    async ask(model, history, { streams, tools, schema, effort, maxTokens } = {}) {
      const systems = history.filter((each) => each.system).map((each) => each.system);
      const request = { model, contents: history.filter((each) => !each.system), config: { ...(systems.length && { systemInstruction: systems }),
        ...(tools && { tools: [{ functionDeclarations: tools.map(([name, parametersJsonSchema]) => ({ name, description: "A tool.", parametersJsonSchema })) }] }),
        ...(schema && { responseMimeType: "application/json", responseJsonSchema: schema }), ...(maxTokens && { maxOutputTokens: maxTokens }),
        ...(effort && { thinkingConfig: { includeThoughts: true, thinkingLevel: ThinkingLevel.HIGH } }) } };
      const answers = [];
      if (streams) for await (const piece of await sdk.models.generateContentStream(request)) answers.push(piece);
      else answers.push(await sdk.models.generateContent(request));
      const candidates = answers.flatMap((each) => each.candidates ?? []);
      const parts = joined(candidates.flatMap((each) => each.content?.parts ?? []));
      const calls = parts.filter((part) => part.functionCall).map(({ functionCall: { id, name, args } }) => ({ id, name, args: args ?? {} }));
      const reason = candidates.findLast((each) => each.finishReason)?.finishReason;
      const blocked = answers.some((each) => each.promptFeedback?.blockReason);
      const usage = answers.findLast((each) => each.usageMetadata).usageMetadata;
      const texts = (thought) => parts.filter((part) => part.text && Boolean(part.thought) === thought).map((part) => part.text).join("");
      return answerOf(texts(true), texts(false), calls,
        blocked || reason === "SAFETY" || reason === "PROHIBITED_CONTENT" ? "refusal" : reason === "MAX_TOKENS" ? "length" : calls.length ? "tool" : "stop",
        [usage.promptTokenCount, usage.cachedContentTokenCount ?? 0, usage.candidatesTokenCount + (usage.thoughtsTokenCount ?? 0)], [{ role: "model", parts }]);
    },
  };
}

export const ALL = [openaiChat, openaiResponses, anthropic, gemini];
