"""Every vendor's SDK over every vendor: the SDKs are the vendors' own, unmodified; the vendors are simulated ones that refuse
what the vendor refuses (tests/support/vendors). Every stream is checked event by event."""

import json
import re
import subprocess
import unittest
from urllib.parse import urlsplit

import vendors
from moongate import *
from vendors import Fail, Say, requests, sdks
from vendors.shape import Refused

SOURCE = os.environ.get("MOONGATE_SOURCE_DIR", ".")
MODELS = {"openai_chat": "gpt-5.2", "openai_responses": "gpt-5.2", "anthropic": "claude-opus-4-6", "gemini": "gemini-3-pro",
          "bedrock": "eu.anthropic.claude-opus-4-6-v1:0", "cohere": "command-a-plus-05-2026"}
TOOLS = [("f", {"type": "object", "properties": {"k": {"type": "integer"}}, "required": ["k"]}), ("g", {"type": "object", "properties": {}})]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "degrees": {"type": "number"}}, "required": ["city", "degrees"], "additionalProperties": False}
CALLS = [("f", {"k": 1}), ("g", {})]
USAGE = (109, 100, 12)


def validate(name, text):
    done = subprocess.run(["luajit", "tests/lua/validate.lua", name], input=text, text=True, capture_output=True, cwd=SOURCE)
    if done.returncode:
        raise AssertionError(f"{name}: {done.stderr}")


def provider(label, up):
    return f'{label} = {{ {up.config} breaker = false }}, '


def project_of(ups, attempts=1, more="", extra=""):
    """A provider and a workflow for each, of its label."""
    providers = "".join(provider(label, up) for label, up in ups.items())
    workflows = "".join(f'{label} = {{ targets = {{ "{label}/{MODELS[up.name]}" }}, max_attempts = {attempts} }}, ' for label, up in ups.items())
    return f"return {{ providers = {{ {providers} }}, workflows = {{ {workflows} {more} }}, {extra} }}"


USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}, {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}}]}
HI = {"role": "user", "content": "hi"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
ITEM = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
FC = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"}
FR = {"functionResponse": {"name": "f", "response": {}}}


def given(*ids):
    return [{"type": "tool_result", "tool_use_id": id} for id in ids]


def anthropic_asks(*messages, **more):
    return {"model": "claude-opus-4-6", "max_tokens": 9, "messages": list(messages), "tools": [{"name": "f", "input_schema": {"type": "object"}}], **more}


def gemini_asks(*turns, **more):
    return {"contents": [{"role": role, "parts": list(parts)} for role, *parts in turns], **more}


SAYS = {"role": "user", "content": [{"text": "hi"}]}
COHERE_CALL = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
COHERE_RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "x"}


def uses(id, name="f"):
    return {"toolUse": {"toolUseId": id, "name": name, "input": {}}}


def gave(id):
    return {"toolResult": {"toolUseId": id, "content": [{"text": "x"}]}}


USES = {"role": "assistant", "content": [uses("a"), uses("b")]}


def bedrock_asks(*messages, **more):
    return {"messages": list(messages), "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}]}, **more}


def cohere_asks(*messages, **more):
    return {"model": "m", "messages": list(messages), **more}


REFUSED = {
    "anthropic": {
        "String should match pattern": anthropic_asks(HI, tools=[{"name": "f" * 129, "input_schema": {"type": "object"}}]),
        "first message must use": anthropic_asks({"role": "assistant", "content": "x"}, HI),
        "non-whitespace": anthropic_asks({"role": "user", "content": [{"type": "text", "text": " "}]}),
        "Tool names must be unique": anthropic_asks(HI, tools=[{"name": "f", "input_schema": {"type": "object"}}] * 2),
        "forces tool use": anthropic_asks(HI, max_tokens=4000, tool_choice={"type": "any"}, thinking={"type": "enabled", "budget_tokens": 1024}),
        "`temperature` may only be set to 1": anthropic_asks(HI, temperature=0.5, thinking={"type": "adaptive"}),
        "must be explicitly set to false": anthropic_asks(HI, output_config={"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}),
        "must define tools": {"model": "m", "max_tokens": 9, "messages": [HI, USE, {"role": "user", "content": given("toolu_1", "toolu_2")}]},
        "max_tokens: Field required": {"model": "m", "messages": [HI]},
        "seed: Extra inputs are not permitted": anthropic_asks(HI, seed=1),
        "text content blocks must be non-empty": anthropic_asks({"role": "user", "content": [{"type": "text", "text": ""}]}),
        "without `tool_result` blocks immediately after: toolu_2": anthropic_asks(HI, USE, {"role": "user", "content": given("toolu_1")}),
        "must come first in the message": anthropic_asks(HI, USE, {"role": "user", "content": [{"type": "text", "text": "x"}, *given("toolu_1", "toolu_2")]}),
        "unexpected `tool_use_id`": anthropic_asks({"role": "user", "content": given("toolu_9")}),
        "Invalid `signature`": anthropic_asks(HI, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "y"}]}, HI),
        "Field required": anthropic_asks(HI, {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f"}]}),
        "prefill": anthropic_asks(HI, {"role": "assistant", "content": "So"}),
        "must be greater than `thinking.budget_tokens`": anthropic_asks(HI, thinking={"type": "enabled", "budget_tokens": 1024}),
    },
    "openai_chat": {
        "metadata_: Extra inputs": {"model": "gpt-4o", "messages": [HI], "metadata_": {}},
        "string too long": {"model": "gpt-4o", "messages": [HI, {"role": "tool", "tool_call_id": "x" * 41, "content": "x"}]},
        "must be a response to a preceding message": {"model": "gpt-4o", "messages": [HI, {"role": "tool", "tool_call_id": "x", "content": "x"}]},
        "did not have response messages: call_1": {"model": "gpt-4o", "messages": [HI, CALL, HI]},
        "reasoning_content: Extra inputs": {"model": "gpt-4o", "messages": [HI, {"role": "assistant", "content": "x", "reasoning_content": "y"}]},
        "only allowed when 'stream' is enabled": {"model": "gpt-4o", "messages": [HI], "stream_options": {}},
        "'max_tokens' is not supported": {"model": "gpt-5.2", "messages": [HI], "max_tokens": 9},
        "must contain the word 'json'": {"model": "gpt-4o", "messages": [HI], "response_format": {"type": "json_object"}},
    },
    "openai_responses": {
        "max_output_tokens: Input should be greater": {"model": "m", "input": "x", "max_output_tokens": 15},
        "No tool output found": {"model": "m", "input": [HI, ITEM]},
        "No tool call found": {"model": "m", "input": [HI, {"type": "function_call_output", "call_id": "c", "output": "x"}]},
        "could not be verified": {"model": "m", "input": [HI, {"type": "reasoning", "summary": [], "encrypted_content": "x"}, HI]},
        "additionalProperties": {"model": "m", "input": "x", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]},
    },
    "gemini": {
        "one initialized field": gemini_asks(("user", {})),
        "non-empty text": gemini_asks(("user", {"text": ""})),
        "number of function response parts": gemini_asks(("user", {"text": "x"}), ("model", FC, FC), ("user", FR)),
        "must not be mixed": gemini_asks(("user", {"text": "x"}), ("model", FC, FC), ("user", FR, {"text": "x"}, FR)),
        "missing a thought_signature": gemini_asks(("user", {"text": "x"}), ("model", {"functionCall": {"name": "f"}}), ("user", FR)),
        "Corrupted thought signature": gemini_asks(("user", {"text": "x"}), ("model", {"text": "y", "thoughtSignature": "Zm9v"}), ("user", {"text": "x"})),
        "temperature_: Extra inputs": gemini_asks(("user", {"text": "x"}), generationConfig={"temperature_": 1}),
        "equal to the number of function call parts": gemini_asks(("user", {"text": "x"}), ("model", FC), ("model", {"text": "y"}), ("user", FR)),
        "should match pattern": gemini_asks(("user", {"text": "x"}), tools=[{"functionDeclarations": [{"name": "f" * 129}]}]),
        "only one of thinking budget": gemini_asks(("user", {"text": "x"}), generationConfig={"thinkingConfig": {"thinkingBudget": 9, "thinkingLevel": "LOW"}}),
        "must be application/json": gemini_asks(("user", {"text": "x"}), generationConfig={"responseJsonSchema": {}}),
        "const is not supported": gemini_asks(("user", {"text": "x"}), tools=[{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"const": 1}}]}]),
    },
    "bedrock": {
        "extraneous key [seed]": bedrock_asks(SAYS, seed=1),
        "extraneous key [name]": bedrock_asks({**SAYS, "name": "x"}),
        "is blank": bedrock_asks({"role": "user", "content": [{"text": " "}]}),
        "roles must alternate": bedrock_asks(SAYS, SAYS),
        "do not answer the calls before them": bedrock_asks(SAYS, USES, {"role": "user", "content": [{"text": "x"}, gave("a"), gave("b")]}),
        "results do not answer": bedrock_asks(SAYS, USES, {"role": "user", "content": [gave("a")]}),
        "toolConfig field must be defined": {"messages": [SAYS, USES, {"role": "user", "content": [gave("a"), gave("b")]}]},
        "length less than or equal to 64": bedrock_asks(SAYS, {"role": "assistant", "content": [uses("x" * 65)]}, {"role": "user", "content": [gave("x" * 65)]}),
        "regular expression pattern: [a-zA-Z0-9_-]+": bedrock_asks(SAYS, {"role": "assistant", "content": [uses("a", "f.g")]}, {"role": "user", "content": [gave("a")]}),
        "must be one of png, jpeg, gif, webp": bedrock_asks({"role": "user", "content": [{"image": {"format": "tiff", "source": {"bytes": "eA=="}}}]}),
        "exactly one member must be there": bedrock_asks({"role": "user", "content": [{"text": "x", "image": {"format": "png", "source": {"bytes": "eA=="}}}]}),
        "Missing required parameter": bedrock_asks({"role": "user", "content": [{"image": {"format": "png"}}]}),
        "Invalid `signature`": bedrock_asks(SAYS, {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "x", "signature": "y"}}}]}, SAYS),
        "`temperature` may only be set to 1": bedrock_asks(SAYS, inferenceConfig={"temperature": 0.5}, additionalModelRequestFields={"thinking": {"type": "adaptive"}}),
        "must be greater than `thinking.budget_tokens`": bedrock_asks(
            SAYS, inferenceConfig={"maxTokens": 1024}, additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    },
    "cohere": {
        "user: Extra inputs": cohere_asks(HI, user="x"),
        "message must not be empty": cohere_asks({"role": "user", "content": ""}),
        "text: message must not be empty": cohere_asks({"role": "user", "content": [{"type": "text", "text": " "}]}),
        "system turn must be the first": cohere_asks(HI, {"role": "system", "content": "x"}),
        "two messages of the user": cohere_asks(HI, HI),
        "all elements in history": cohere_asks(HI, {"role": "assistant"}, HI),
        "did not have response messages: call_1": cohere_asks(HI, COHERE_CALL, HI),
        "tool call id not found": cohere_asks(HI, COHERE_CALL, {"role": "tool", "tool_call_id": "x", "content": "x"}),
        "cannot have duplicate tool ids": cohere_asks(HI, COHERE_CALL, COHERE_RESULT, COHERE_CALL, COHERE_RESULT),
        "is no JSON": cohere_asks(HI, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}, HI),
        "can't begin with a digit": cohere_asks(HI, tools=[{"type": "function", "function": {"name": "1f", "parameters": {}}}]),
        "can only contain certain characters": cohere_asks(HI, tools=[{"type": "function", "function": {"name": "f-g", "parameters": {}}}]),
        "parameters: Field required": cohere_asks(HI, tools=[{"type": "function", "function": {"name": "f"}}]),
        "response_format is not supported with RAG": cohere_asks(HI, response_format={"type": "json_object"}, documents=["x"]),
        "schema must be an object": cohere_asks(HI, response_format={"type": "json_object", "json_schema": {"type": "array"}}),
        "required field name not found": cohere_asks(HI, response_format={"type": "json_object", "json_schema": {"type": "object", "properties": {"a": {}}}}),
        "minimum is not supported": cohere_asks(HI, response_format={"type": "json_object", "json_schema": {"type": "object", "minimum": 1}}),
        "is not between 0 and 1": cohere_asks(HI, temperature=1.5),
        "at most 5 items": cohere_asks(HI, stop_sequences=["a"] * 6),
        "expected tags: text, image_url": cohere_asks({"role": "user", "content": [{"type": "document", "document": {}}]}),
        "must be less than max_tokens": cohere_asks(HI, max_tokens=100, thinking={"type": "enabled", "token_budget": 100}),
        "last message must be": cohere_asks(HI, {"role": "assistant", "content": "So"}),
    },
}
URLS = {"bedrock": "/model/eu.anthropic.claude/converse", "cohere": "/v2/chat", "anthropic": "/v1/messages", "openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses", "gemini": "/v1/models/gemini-3-pro:generateContent"}


class Strict(unittest.TestCase):
    def test_simulated_vendors_refuse_what_the_vendor_refuses(self):
        for name, table in REFUSED.items():
            for words, body in table.items():
                with self.subTest(vendor=name, words=words), self.assertRaisesRegex(Refused, re.escape(words)):
                    vendors.Vendor(name).dialect.check(body, urlsplit(URLS[name]), vendors.Vendor(name))

    def test_and_take_what_it_takes(self):
        taken = {"anthropic": anthropic_asks(HI, USE, {"role": "user", "content": given("toolu_2", "toolu_1")}),
                 "openai_chat": {"model": "gpt-5.2", "messages": [HI, CALL, {"role": "tool", "tool_call_id": "call_1", "content": ""}]},
                 "openai_responses": {"model": "m", "input": [HI, ITEM, {"type": "function_call_output", "call_id": "c", "output": ""}]},
                 "gemini": gemini_asks(("user", {"text": "x"}), ("model", FC, FC), ("user", FR, FR, {"text": "y"})),
                 "bedrock": bedrock_asks(SAYS, USES, {"role": "user", "content": [gave("b"), gave("a"), {"text": "And?"}]}),
                 "cohere": cohere_asks({"role": "system", "content": "x"}, HI, COHERE_CALL, COHERE_RESULT, HI)}
        for name, body in taken.items():
            self.assertFalse(vendors.Vendor(name).dialect.check(body, urlsplit(URLS[name]), vendors.Vendor(name)))


class Matrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ups = {name: cls.enterClassContext(vendors.start(name)) for name in MODELS}
        older = 'older = { targets = { "gemini/gemini-2.5-flash" }, max_attempts = 1 },'
        cls.gw = cls.enterClassContext(Gateway(project_of(cls.ups, more=older)))
        cls.clients = [Sdk(cls.gw) for Sdk in sdks.ALL]
        for each in cls.clients:
            cls.addClassCleanup(each.close)

    def each(self, do):
        """do(client, vendor, ask) for every pair, whole and streamed."""
        for client in self.clients:
            for name, up in self.ups.items():
                for streams in (False, True):
                    with self.subTest(client=client.name, vendor=name, streams=streams):
                        up.refused.clear()
                        do(client, up, self.asker(client, up, streams))

    def asker(self, client, up, streams):
        def ask(history, model=None, **more):
            try:
                answer = client.ask(model or up.name, history, streams, **more)
            except client.failure as error:
                raise AssertionError(f"{error}; the vendor refused: {up.refused}") from error
            if client.name == up.name:
                self.assertEqual(client.kept.text, up.sent)
            else:
                validate(f"{client.name}_{'stream' if streams else 'answer'}", client.kept.text)
            return answer
        return ask

    def test_a_text(self):
        def do(client, up, ask):
            up.say(Say("Hello there, wörld 🎈"))
            answer = ask(client.user("hi"))
            self.assertEqual((answer.text, answer.finish, answer.calls, answer.usage), ("Hello there, wörld 🎈", "stop", [], USAGE))
        self.each(do)

    def test_turns_of_the_system_and_of_the_developer(self):
        def do(client, up, ask):
            up.say(Say("Yes."))
            history = client.system("Be brief.") + client.user("hi") + client.aside("Be kind.") + client.user("well?")
            self.assertEqual(ask(history).text, "Yes.")
            sent = json.dumps(up.body)
            places = [sent.index(words) for words in ("hi", "Be kind.", "well?")]
            self.assertEqual(places, sorted(places))
            self.assertEqual(sent.count("Be brief."), 1)
        self.each(do)

    def test_several_turns(self):
        def do(client, up, ask):
            up.say(Say("Blue."), Say("Because."))
            history = client.user("Which?")
            history = history + ask(history).turn + client.user("Why?")
            self.assertEqual(ask(history).text, "Because.")
            sent = json.dumps(up.body)
            places = [sent.index(words) for words in ("Which?", "Blue.", "Why?")]
            self.assertEqual(places, sorted(places))
        self.each(do)

    def test_tools_side_by_side_and_their_results(self):
        def do(client, up, ask):
            up.say(Say("Let me see.", calls=CALLS), Say("Both."))
            history = client.user("Do both")
            answer = ask(history, tools=TOOLS)
            self.assertEqual((answer.text, answer.finish, answer.usage), ("Let me see.", "tool", USAGE))
            self.assertEqual([call[1:] for call in answer.calls], CALLS)
            history = history + answer.turn + client.results(answer.calls, ["first result", "second result"]) + client.user("And?")
            self.assertEqual(ask(history, tools=TOOLS).text, "Both.")
            sent = json.dumps(up.body)
            self.assertLess(sent.index("first result"), sent.index("second result"))
        self.each(do)

    def test_two_calls_of_one_tool_answered_the_other_way_round(self):
        """Gemini's older models number no calls: their order is all there is."""
        twice = [("f", {"k": 1}), ("f", {"k": 2})]

        def do(client, up, ask):
            up.say(Say(calls=twice), Say("Both."))
            history = client.user("Twice")
            model = "older" if up.name == "gemini" else None
            answer = ask(history, model=model, tools=TOOLS)
            self.assertEqual([call[1:] for call in answer.calls], twice)
            calls, outputs = answer.calls, ["result one", "result two"]
            if client.name != "gemini":
                calls, outputs = calls[::-1], outputs[::-1]
            history = history + answer.turn + client.results(calls, outputs)
            self.assertEqual(ask(history, model=model, tools=TOOLS).text, "Both.")
            if up.name == "gemini":
                found = [part["functionResponse"]["response"] for part in up.body["contents"][-1]["parts"]]
                self.assertEqual(found, [{"output": "result one"}, {"output": "result two"}])
        self.each(do)

    def sent(self, up):
        """Gemini's SDK has base64 in the alphabet of URLs."""
        return json.dumps(up.body).replace("-", "+").replace("_", "/")

    def test_an_image(self):
        def do(client, up, ask):
            up.say(Say("A dot."))
            self.assertEqual(ask(client.user("What is it?", sdks.PNG)).text, "A dot.")
            self.assertIn(sdks.encoded(sdks.PNG), self.sent(up))
        self.each(do)

    def test_a_document(self):
        def do(client, up, ask):
            up.say(Say("Nothing much."))
            history = client.user("What is it?", document=sdks.PDF)
            if up.name == "cohere":  # it reads texts alone
                with self.assertRaises(client.classes[400]) as raised:
                    client.ask(up.name, history)
                return self.assertIn("a document that is no text", str(raised.exception))
            self.assertEqual(ask(history).text, "Nothing much.")
            self.assertIn(sdks.encoded(sdks.PDF), self.sent(up))
        self.each(do)

    def test_a_document_that_is_a_text(self):
        def do(client, up, ask):
            if client.name == up.name and client.name.startswith("openai"):
                return  # which takes PDF alone, as its client knows
            up.say(Say("Bern."))
            self.assertEqual(ask(client.user("What is it about?", notes="Bern is small.")).text, "Bern.")
            sent = self.sent(up)
            self.assertTrue("Bern is small." in sent or sdks.encoded(b"Bern is small.") in sent, sent)
        self.each(do)

    def test_a_page_that_the_answer_was_taken_from(self):
        up = self.ups["cohere"]
        for client in self.clients:
            for streams in (False, True):
                with self.subTest(client=client.name, streams=streams):
                    up.say(Say("Bern is small.", cites="https://example.com/bern"))
                    self.assertEqual(self.asker(client, up, streams)(client.user("Where?")).text, "Bern is small.")
                    if client.name != "anthropic":  # its citations tell more than anybody else knows
                        self.assertIn("https://example.com/bern", client.kept.text)

    def test_an_answer_after_a_schema(self):
        def do(client, up, ask):
            up.say(Say('{"city": "Bern", "degrees": 3.50}'))
            answer = ask(client.user("Weather as JSON?"), schema=SCHEMA)
            self.assertEqual(json.loads(answer.text), {"city": "Bern", "degrees": 3.5})
            self.assertRegex(json.dumps(up.body), r'"degrees\\*"')
        self.each(do)

    def test_reasoning_and_tools_over_several_turns(self):
        def do(client, up, ask):
            up.say(Say(thought="First one.", calls=CALLS), Say("Then", thought="Now the other.", calls=CALLS[:1]), Say("Done."))
            history = client.user("Do it")
            for thought, text, calls in (("First one.", "", CALLS), ("Now the other.", "Then", CALLS[:1])):
                answer = ask(history, tools=TOOLS, effort="medium")
                self.assertEqual(answer.thought, "" if up.name == "openai_chat" else thought)  # OpenAI shows none there
                self.assertEqual((answer.text, [call[1:] for call in answer.calls]), (text, calls))
                history = history + answer.turn + client.results(answer.calls, ["a", "b"][:len(calls)])
            self.assertEqual(ask(history, tools=TOOLS, effort="medium").text, "Done.")
            if up.name != "openai_chat":
                sent = json.dumps(up.body)
                state = up.signed or ("First one.", "Now the other.")  # Cohere's thoughts are all there is of them
                self.assertEqual(sum(1 for each in state if (each if isinstance(each, str) else each[1]) in sent), 2)
            up.signed.clear()
        self.each(do)

    def test_an_answer_that_was_cut_for_its_length(self):
        def do(client, up, ask):
            up.say(Say("Once upon", finish="length"))
            answer = ask(client.user("Tell"), max_tokens=300)
            self.assertEqual((answer.text, answer.finish, answer.usage), ("Once upon", "length", USAGE))
        self.each(do)

    def test_a_refusal(self):
        def do(client, up, ask):
            up.say(Say("I will not.", finish="refusal"))
            answer = ask(client.user("Do evil"))
            # Gemini says nothing then, and Cohere has no word for it
            told = ("" if up.name == "gemini" else "I will not.", "stop" if up.name == "cohere" else "refusal")
            self.assertEqual((answer.text, answer.finish), told)
        self.each(do)

    def test_errors_raise_the_class_the_sdk_has_for_them(self):
        """A key that was told to slow down rests: each client has providers of its own."""
        labels = {f"{Sdk.name}_{name}": up for Sdk in sdks.ALL for name, up in self.ups.items()}
        with Gateway(project_of(labels)) as gw:
            for Sdk in sdks.ALL:
                client = Sdk(gw)
                self.addCleanup(client.close)
                for name, up in self.ups.items():
                    for kind, status in (("bad", 400), ("context", 400), ("overloaded", 503), ("server", 500), ("rate", 429)):
                        with self.subTest(client=client.name, vendor=name, kind=kind):
                            up.say(Fail(kind))
                            self.check_error(client, f"{client.name}_{name}", kind, status)

    def check_error(self, client, model, kind, status):
        with self.assertRaises(client.failure) as raised:
            client.ask(model, client.user("hi"))
        error = raised.exception
        given = getattr(error, client.status)
        self.assertIn(given, (500, 502, 503, 529) if status >= 500 else (status,))
        self.assertIsInstance(error, client.classes.get(given, client.failure))
        if kind == "bad":
            self.assertIn("as the test wants it", str(error))
        if kind == "context" and client.name.startswith("openai"):
            self.assertEqual(error.code, "context_length_exceeded")

    def test_what_is_wrong_with_the_client_raises_its_class(self):
        for Sdk in sdks.ALL:
            with self.subTest(client=Sdk.name):
                stranger = Sdk(self.gw, "mg_nobody")
                self.addCleanup(stranger.close)
                with self.assertRaises(Sdk.classes[401]) as raised:
                    stranger.ask("anthropic", stranger.user("hi"))
                self.assertEqual(getattr(raised.exception, Sdk.status), 401)
        for client in self.clients:
            with self.subTest(client=client.name), self.assertRaises(client.classes[404]) as raised:
                client.ask("nothing-like-it", client.user("hi"))
            self.assertEqual(getattr(raised.exception, client.status), 404)

    def test_a_stream_that_fails_on_its_way_raises_in_the_middle(self):
        for breaks in ("cut", "error"):
            for client in self.clients:
                for name, up in self.ups.items():
                    if name == "gemini" and breaks == "cut":
                        continue  # it has no last event: its cut answer is one without a reason
                    with self.subTest(client=client.name, vendor=name, breaks=breaks):
                        up.say(Say("Hello there", breaks=breaks))
                        with self.assertRaises(client.broken):
                            client.ask(name, client.user("hi"), True)
                        self.assertIn('"error"', client.kept.text)
                        self.assertIn("Hel", client.kept.text)


PATHS = {"openai_chat": "/v1/chat/completions", "openai_responses": "/v1/responses", "anthropic": "/v1/messages"}


def send(gw, dialect, model, body, **options):
    """A request as the client of a dialect sends it."""
    if dialect == "gemini":
        return gw.request("POST", f"/v1beta/models/{model}:generateContent", body, **options)
    return gw.request("POST", PATHS[dialect], {"model": model, **body}, **options)


class Odd(unittest.TestCase):
    def test_what_is_odd_about_a_request_no_vendor_minds(self):
        """What a model does not take is left out at the vendor's word; what would change the answer is refused before it is sent."""
        ups = {name: self.enterContext(vendors.start(name)) for name in MODELS}
        gw = self.enterContext(Gateway(project_of(ups, 3).replace("openai_chat/gpt-5.2", "openai_chat/gpt-4o")))
        for dialect, table in requests.ODD.items():
            for what, body in table.items():
                for name, up in ups.items():
                    if name == dialect:
                        continue
                    with self.subTest(client=dialect, vendor=name, what=what):
                        up.say(Say("ok"))
                        up.refused.clear()
                        answer = send(gw, dialect, name, body)
                        if answer.status == 400 and not up.refused:
                            self.assertRegex(answer.body, b"has no counterpart|has a part that")
                        else:
                            self.assertEqual(answer.status, 200, up.refused)


    def test_a_model_that_takes_two_things_not_answers_the_first_request(self):
        up = self.enterContext(vendors.start("openai_chat"))
        gw = self.enterContext(Gateway(project_of({"openai_chat": up}, 4)))
        up.say(Say("ok"))
        for dialect, body in (("openai_chat", {"messages": [HI]}), ("anthropic", {"messages": [HI], "max_tokens": 9})):
            self.assertEqual(send(gw, dialect, "openai_chat", {**body, "temperature": 0.5, "top_p": 0.5}).status, 200)
            self.assertEqual(len(up.refused), 2)  # what is translated leaves out what the catalogue knows to be refused


class Handing(unittest.TestCase):
    """One conversation, several vendors."""

    @classmethod
    def setUpClass(cls):
        cls.ups = {name: cls.enterClassContext(vendors.start(name)) for name in MODELS}
        pairs = "".join(f'{a}_{b} = {{ targets = {{ "{a}/{MODELS[a]}", "{b}/{MODELS[b]}" }} }}, ' for a in MODELS for b in MODELS if a != b)
        cls.gw = cls.enterClassContext(Gateway(project_of(cls.ups, 3, pairs), env={"MOONGATE_LOG": "info"}))

    def clients(self):
        for Sdk in sdks.ALL:
            client = Sdk(self.gw)
            self.addCleanup(client.close)
            yield client

    def pairs(self):
        return [(first, second) for first in self.ups for second in self.ups if first != second]

    def test_a_conversation_goes_on_at_another_vendor(self):
        """What the first signed stays away from the second; the calls and their results do not."""
        for client in self.clients():
            for first, second in self.pairs():
                for streams in (False, True):
                    with self.subTest(client=client.name, first=first, second=second, streams=streams):
                        self.go_on(client, self.ups[first], self.ups[second], streams)

    def go_on(self, client, first, second, streams):
        first.say(Say("Looking.", thought="Hm.", calls=CALLS))
        second.say(Say("Found."))
        second.refused.clear()
        history = client.user("Look")
        answer = client.ask(first.name, history, streams, tools=TOOLS, effort="medium")
        history = history + answer.turn + client.results(answer.calls, ["one", "two"])
        try:
            self.assertEqual(client.ask(second.name, history, tools=TOOLS, effort="medium").text, "Found.")
        except client.failure as error:
            self.fail(f"{error}; the vendor refused: {second.refused}")
        sent = json.dumps(second.body)
        self.assertLess(sent.index("Looking."), sent.index("one"))

    def test_where_one_fails_one_of_another_dialect_answers(self):
        for client in self.clients():
            for first, second in self.pairs():
                for streams in (False, True):
                    with self.subTest(client=client.name, first=first, second=second, streams=streams):
                        self.ups[first].say(Fail("server"))
                        self.ups[second].say(Say("Here.", calls=CALLS))
                        answer = client.ask(f"{first}_{second}", client.user("hi"), streams, tools=TOOLS)
                        self.assertEqual((answer.text, [call[1:] for call in answer.calls], answer.usage), ("Here.", CALLS, USAGE))
                        self.assertEqual(client.kept.headers["x-moongate-provider"], second)


PRICES = {"version": 1, "providers": [{"name": name, "project": "main", "models": [
    {"model": model, "prices": [{"input": 2, "output": 10, "cached_read": 1}]}]} for name, model in MODELS.items()]}


class Books(unittest.TestCase):
    def test_tokens_and_cost_are_the_vendors_whoever_asked(self):
        cost = (9 * 2 + 100 * 1 + 12 * 10)  # the catalogue has picodollars a token
        ups = {name: self.enterContext(vendors.start(name)) for name in MODELS}
        gw = Gateway(project_of(ups))
        gw.write("data/prices.json", json.dumps(PRICES))
        self.enterContext(gw)
        for up in ups.values():
            up.say(Say("Hello", calls=CALLS))
        for Sdk in sdks.ALL:
            client = Sdk(gw)
            self.addCleanup(client.close)
            for name in ups:
                for streams in (False, True):
                    self.assertEqual(client.ask(name, client.user("hi"), streams, tools=TOOLS).usage, USAGE)
        found = [json.loads(line) for line in gw.cli("usage", "events").splitlines()]
        self.assertEqual(len(found), 48)
        for event in found:
            with self.subTest(provider=event["provider"], path=event.get("path")):
                self.assertEqual((event["input_tokens"], event["cached_read_tokens"], event["output_tokens"], event["reasoning_tokens"], event["tokens"]),
                                 (109, 100, 12, 0 if event["provider"] in ("bedrock", "cohere") else 4, "reported"))  # which do not tell
                self.assertEqual(event["cost_picousd"], cost)


HOOKS = '''
    on_request = function(req)
      req.messages:set(1, req.messages[1]:text():upper())
      req.messages:append_system("Be brief.")
    end,
    on_chunk = function(c) return (c.text:gsub("secret", "[gone]")) end, stream = { mode = "filter", hold = 8 },
    on_response = function(res) if not res.sent then return res:replace { text = (res:text():gsub("secret", "[gone]")) } end end
'''


class Hooks(unittest.TestCase):
    def test_hooks_see_the_clients_words_whoever_answers(self):
        ups = {name: self.enterContext(vendors.start(name)) for name in MODELS}
        workflows = "".join(f'hooked_{name} = {{ targets = {{ "{name}/{MODELS[name]}" }}, {HOOKS} }}, ' for name in ups)
        gw = self.enterContext(Gateway(project_of(ups, more=workflows)))
        for Sdk in sdks.ALL:
            client = Sdk(gw)
            self.addCleanup(client.close)
            for name, up in ups.items():
                for streams in (False, True):
                    with self.subTest(client=client.name, vendor=name, streams=streams):
                        up.say(Say("It is a secret, they say", pieces=6))
                        up.refused.clear()
                        answer = client.ask(f"hooked_{name}", client.user("shout it"), streams)
                        self.assertEqual(answer.text, "It is a [gone], they say")
                        self.assertNotIn("secret", client.kept.text)
                        self.assertIn("SHOUT IT", json.dumps(up.body))
                        self.assertIn("Be brief.", json.dumps(up.body))


if __name__ == "__main__":
    main()
