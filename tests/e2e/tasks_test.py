"""What is asked of a model besides a conversation: how many tokens one has, and embeddings. In the words of whoever asks and
of whoever is asked, with the official SDKs."""

import json
import unittest

import anthropic
import openai
from google import genai
from google.genai import types

from moongate import *

OF = {  # how each vendor counts: version, model, path, answer
    "anthropic": ("v1", "claude-sonnet-4-5", "/v1/messages/count_tokens", {"input_tokens": 42}),
    "gemini": ("v1beta", "gemini-3-pro", "/v1beta/models/gemini-3-pro:countTokens", {"totalTokens": 42}),
    "openai": ("v1", "gpt-5", "/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 42}),
    "openai_responses": ("v1", "gpt-5", "/v1/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 42}),
    "bedrock": ("", "anthropic.claude-x", "/model/anthropic.claude-x/count-tokens", {"inputTokens": 42}),
}
KEYS = {"bedrock": "AKIDEXAMPLE:wJalrXUtnFEMI"}


def project_of(up, adapter, model=None, extra="", speaks=""):
    version, usual = OF.get(adapter, ("v1", "m"))[:2]
    url = f"http://127.0.0.1:{up.port}" + (f"/{version}" if version else "")
    return (f'return {{ providers = {{ p = {{ adapter = "{adapter}", base_url = "{url}", api_key = "{KEYS.get(adapter, "k")}", breaker = false, {speaks} }} }}, '
            f'workflows = {{ chat = {{ {{ target = "p/{model or usual}", params = {{ temperature = 0.5 }} }} }} }}, {extra} }}')


TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"k": {"type": "integer"}}}}
LIMITS = "limits = { tokens_per_minute = 1, requests_per_minute = 600, budget = { usd = 1 } },"


class Counting(unittest.TestCase):
    def clients(self, gw):
        root = gw.url.removesuffix("/v1")
        claude = anthropic.Anthropic(base_url=root, api_key=gw.keys["main"], max_retries=0)
        gemini = genai.Client(api_key=gw.keys["main"], http_options=types.HttpOptions(base_url=root, api_version="v1beta"))
        return {
            "anthropic": lambda: claude.messages.count_tokens(model="chat", system="s", messages=[{"role": "user", "content": "hi"}], tools=[TOOL]).input_tokens,
            "gemini": lambda: gemini.models.count_tokens(model="chat", contents="hi").total_tokens,
            "openai_responses": lambda: gw.client().responses.input_tokens.count(model="chat", input="hi", instructions="s").input_tokens,
        }

    def test_every_client_is_told_by_every_vendor_that_counts(self):
        for adapter, (_, model, path, answer) in OF.items():
            if adapter == "openai":
                continue                                                   # speaks Responses only at its own address
            with Upstream(respond(200, answer)) as up, Gateway(project_of(up, adapter)) as gw:
                for dialect, count in self.clients(gw).items():
                    with self.subTest(client=dialect, vendor=adapter):
                        self.assertEqual(count(), 42)
                        sent = up.next_request()
                        self.assertEqual(sent.path, path)
                        self.check_sent(adapter, sent.json, model)

    def check_sent(self, adapter, body, model):
        """Nothing that its vendor would refuse."""
        allowed = {"anthropic": {"model", "messages", "system", "tools", "tool_choice", "thinking"}, "openai_responses": {"model", "input", "instructions", "tools", "reasoning", "text"},
                   "gemini": {"generateContentRequest", "contents"}, "bedrock": {"input"}}[adapter]
        self.assertLessEqual(set(body), allowed)
        if adapter in ("anthropic", "openai_responses"):
            self.assertEqual(body["model"], model)
        if adapter == "bedrock":
            self.assertEqual(body["input"]["converse"]["messages"], [{"role": "user", "content": [{"text": "hi"}]}])
        if "generateContentRequest" in body:
            self.assertEqual(body["generateContentRequest"]["model"], "models/" + model)
            self.assertEqual(body["generateContentRequest"]["contents"], [{"role": "user", "parts": [{"text": "hi"}]}])
        self.assertNotIn("temperature", json.dumps(body))

    def test_the_clients_own_dialect_passes_byte_for_byte(self):
        odd = b'{"model" : "chat", "messages":[{"role":"user","content":"\\u00e9"}], "unknown": 1.0}'
        with Upstream(respond(200, {"input_tokens": 7, "more": 1})) as up, Gateway(project_of(up, "anthropic")) as gw:
            got = gw.request("POST", "/v1/messages/count_tokens", odd, {"anthropic-version": "2026-10-21", "anthropic-beta": "a,b"})
            self.assertEqual(got.json, {"input_tokens": 7, "more": 1})
            sent = up.next_request()
            self.assertEqual(sent.body, odd.replace(b'"chat"', b'"claude-sonnet-4-5"'))
            self.assertEqual((sent.headers["anthropic-version"], sent.headers["anthropic-beta"]), ("2026-10-21", "a,b"))

    def test_a_gemini_request_within_a_request(self):
        inner = {"model": "models/chat", "contents": [{"role": "user", "parts": [{"text": "hi"}]}], "systemInstruction": {"parts": [{"text": "s"}]},
                 "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {"k": {"type": "INTEGER"}}}}]}]}
        with Upstream(respond(200, {"input_tokens": 42})) as up, Gateway(project_of(up, "anthropic")) as gw:
            got = gw.request("POST", "/v1beta/models/chat:countTokens", {"generateContentRequest": inner})
            self.assertEqual((got.status, got.json), (200, {"totalTokens": 42}))
            body = up.next_request().json
            self.assertEqual((body["messages"][0]["content"][0]["text"], body["tools"][0]["input_schema"]["properties"]), ("hi", {"k": {"type": "integer"}}))

    def test_who_cannot_count_is_estimated_and_says_so(self):
        with Upstream(json_answer("hello")) as up:
            for adapter in ("openai_chat", "cohere", "ollama"):
                with Gateway(project_of(up, adapter)) as gw:
                    for dialect, count in self.clients(gw).items():
                        self.assertGreater(count(), 2, (adapter, dialect))
                    got = gw.request("POST", "/v1/messages/count_tokens", {"model": "chat", "messages": [{"role": "user", "content": "hi"}]})
                    self.assertEqual((got.headers["x-moongate-warning"], list(got.json)), ("estimated", ["input_tokens"]))
                    self.assertEqual(got.headers["content-type"], "application/json")
        self.assertEqual(up.count, 0)

    def test_a_provider_that_fails_is_estimated_and_a_fault_of_the_request_is_told(self):
        bad = respond(400, {"type": "error", "error": {"type": "invalid_request_error", "message": "messages: no"}})
        with Upstream(respond(500, {})) as up, Gateway(project_of(up, "anthropic")) as gw:
            got = gw.request("POST", "/v1/messages/count_tokens", {"model": "chat", "messages": [{"role": "user", "content": "hi"}]})
            self.assertEqual((got.status, got.headers["x-moongate-warning"]), (200, "estimated"))
            up.answer(bad)
            with self.assertRaises(anthropic.BadRequestError) as caught:
                self.clients(gw)["anthropic"]()
            self.assertIn("messages: no", str(caught.exception))
            got = gw.request("POST", "/v1/messages/count_tokens", {"model": "nobody", "messages": []})
            self.assertEqual((got.status, got.json["type"]), (404, "error"))

    def test_it_costs_nothing_and_is_counted_as_a_request(self):
        with Upstream(respond(200, {"input_tokens": 42})) as up, Gateway(project_of(up, "anthropic", extra=LIMITS).replace("p/claude-sonnet-4-5\",", "p/claude-sonnet-4-5\", price_usd = { input = 1000000 },")) as gw:
            for _ in range(3):
                got = gw.request("POST", "/v1/messages/count_tokens", {"model": "chat", "messages": [{"role": "user", "content": "hi"}]})
                self.assertEqual(got.status, 200, got.body)
            trace = gw.trace(got)
            self.assertEqual((trace["cost_microusd"], trace["attempts"][0]["usage"]["input_tokens"], trace["path"]), (0, 0, "/v1/messages/count_tokens"))
            self.assertIn("x-ratelimit-remaining-requests", got.headers)

    def test_openai_counts_at_the_address_of_its_responses(self):
        # at an address of its own a provider is taken to speak its adapter's dialect and no other
        with Upstream(respond(200, OF["openai"][3])) as up, Gateway(project_of(up, "openai")) as gw:
            self.assertGreater(self.clients(gw)["anthropic"](), 0)


class Embedding(unittest.TestCase):
    VECTORS = b'{"object":"list","data":[{"object":"embedding","index":1,"embedding":[0.10,2e-3]},{"object":"embedding","index":0,"embedding":[1.0,-0.5]}],"model":"m","usage":{"prompt_tokens":5,"total_tokens":5}}'

    def gemini(self, gw):
        return genai.Client(api_key=gw.keys["main"], http_options=types.HttpOptions(base_url=gw.url.removesuffix("/v1"), api_version="v1beta"))

    def test_gemini_clients_embed_at_openai(self):
        with Upstream(respond(200, self.VECTORS)) as up, Gateway(project_of(up, "openai", "text-embedding-3-small")) as gw:
            client = self.gemini(gw)                                       # one that nobody keeps is closed
            got = client.models.embed_content(model="chat", contents=["one", "two"], config=types.EmbedContentConfig(output_dimensionality=2))
            self.assertEqual([each.values for each in got.embeddings], [[1.0, -0.5], [0.1, 0.002]])
            sent = up.next_request()
            self.assertEqual((sent.path, sent.json), ("/v1/embeddings", {"model": "text-embedding-3-small", "input": ["one", "two"], "dimensions": 2, "encoding_format": "float"}))
            whole = gw.request("POST", "/v1beta/models/chat:batchEmbedContents", {"requests": [{"model": "models/chat", "content": {"parts": [{"text": t}]}} for t in ("a", "b")]})
            self.assertEqual(whole.body, b'{"embeddings":[{"values":[1.0,-0.5]},{"values":[0.10,2e-3]}],"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}}')
            one = gw.request("POST", "/v1beta/models/chat:embedContent", {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "RETRIEVAL_QUERY"})
            self.assertEqual((one.json["embedding"]["values"], one.headers["x-moongate-warning"]), ([1.0, -0.5], "dropped=taskType"))
            self.assertEqual(gw.trace(one)["attempts"][0]["usage"]["input_tokens"], 5)

    def test_what_others_cannot_embed_is_refused_with_its_place(self):
        image = {"requests": [{"content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}}]}
        sizes = {"requests": [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": size} for size in (1, 2)]}
        with Upstream(respond(200, self.VECTORS)) as up, Gateway(project_of(up, "openai")) as gw:
            for body, param in ((image, "requests[1].content.parts[0]"), (sizes, "requests[1].outputDimensionality")):
                got = gw.request("POST", "/v1beta/models/chat:batchEmbedContents", body)
                self.assertEqual((got.status, got.json["error"]["status"]), (400, "INVALID_ARGUMENT"))
                self.assertIn(param, got.json["error"]["message"])
            self.assertEqual(up.count, 0)

    def test_gemini_itself_gets_the_bytes(self):
        with Upstream(respond(200, {"embeddings": [{"values": [1, 2]}]})) as up, Gateway(project_of(up, "gemini", "gemini-embedding-001")) as gw:
            client = self.gemini(gw)                                       # one that nobody keeps is closed
            got = client.models.embed_content(model="chat", contents="one", config=types.EmbedContentConfig(task_type="CLUSTERING"))
            self.assertEqual(got.embeddings[0].values, [1.0, 2.0])
            sent = up.next_request()
            self.assertEqual((sent.path, sent.json["requests"][0]["taskType"]), ("/v1beta/models/gemini-embedding-001:batchEmbedContents", "CLUSTERING"))


if __name__ == "__main__":
    main()
