"""Models of Amazon Bedrock behind clients of other dialects: signatures, binary frames, Converse."""

import json
import unittest

import bedrock
from bedrock import answering, event, exception, text_events
from moongate import Gateway, Upstream, main

REGION = "eu-central-1"
KEY = f"{bedrock.KEY_ID}:{bedrock.SECRET}"
MODEL = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"


def project(up, key=KEY, more="", targets=f'"aws/{MODEL}"', attempts=1):
    base = up.url.removesuffix("/v1")
    return (f'return {{ providers = {{ aws = {{ adapter = "bedrock", base_url = "{base}", api_key = "{key}", '
            f'vars = {{ region = "{REGION}" }}, breaker = false, {more} }} }}, workflows = {{ chat = {{ targets = {{ {targets} }}, max_attempts = {attempts} }} }} }}')


TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Tells", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


def chunks(answer):
    return [json.loads(event) for event in answer.events if event != "[DONE]"]


class Bedrock(unittest.TestCase):
    def test_a_signed_question_and_its_answer(self):
        with Upstream(answering(REGION, {"text": "Hello"})) as up, Gateway(project(up)) as gateway:
            answer = gateway.chat(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi — ünïcode"}], max_tokens=50)
            self.assertEqual(answer.status, 200, answer.body)
            self.assertEqual(answer.json["choices"][0]["message"]["content"], "Hello")
            self.assertEqual(answer.json["usage"]["prompt_tokens"], 30)
            sent = up.next_request()
            self.assertEqual(sent.path, "/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse")
            self.assertNotIn("model", sent.json)
            self.assertNotIn(bedrock.SECRET, str(sent.raw_headers))

    def test_a_session_token_is_signed_and_never_comes_back(self):
        token = "FwoGZXIvYXdzEExampleToken//=="

        def echo(sock, request):
            bedrock.check_signature(request, REGION, token)
            body = json.dumps({"message": "The canonical string should have been x-amz-security-token:" + token}).encode()
            sock.sendall(b"HTTP/1.1 403 No\r\nx-amzn-errortype: InvalidSignatureException\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

        with Upstream(answering(REGION, {"text": "Hello"}, token=token), echo) as up, Gateway(project(up, f"{KEY}:{token}")) as gateway:
            self.assertEqual(gateway.chat().status, 200)
            refused = gateway.chat()
            self.assertNotEqual(refused.status, 200)
            self.assertNotIn(b"ExampleToken", refused.body)
            self.assertNotIn("ExampleToken", json.dumps(gateway.trace(refused)))

    def test_a_wrong_secret_is_an_error_of_the_key(self):
        with Upstream(answering(REGION, {"text": "x"})) as up, Gateway(project(up, KEY + "x")) as gateway:
            answer = gateway.chat()
            self.assertEqual(gateway.trace(answer)["attempts"][0]["class"], "auth")

    def test_a_key_that_is_none_of_aws_is_not_sent(self):
        with Upstream() as up, Gateway(project(up, "sk-openai-like")) as gateway:
            answer = gateway.chat()
            self.assertNotEqual(answer.status, 200)
            self.assertIn("ACCESS_KEY_ID:SECRET", json.dumps(gateway.trace(answer)))
            self.assertTrue(up.requests.empty())

    def test_a_bearer_key_where_the_configuration_says_so(self):
        def bearer(sock, request):
            assert request.headers["authorization"] == "Bearer bedrock-api-key-1", request.headers
            body = json.dumps({"output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}, "stopReason": "end_turn", **bedrock.USAGE}).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

        with Upstream(bearer) as up, Gateway(project(up, "bedrock-api-key-1", 'auth = "bearer",')) as gateway:
            self.assertEqual(gateway.chat().json["choices"][0]["message"]["content"], "Hi")

    def test_a_stream_in_frames_cut_anywhere(self):
        for pieces in (None, 1, 7, 100):
            with Upstream(answering(REGION, events=text_events("Hel", "lo\n", 'q"'), pieces=pieces)) as up, Gateway(project(up)) as gateway:
                answer = gateway.chat(stream=True, stream_options={"include_usage": True})
                self.assertEqual(answer.headers["content-type"], "text/event-stream")
                self.assertEqual(answer.text, 'Hello\nq"')
                self.assertEqual(answer.events[-1], "[DONE]")
                self.assertEqual([e["usage"]["prompt_tokens"] for e in chunks(answer) if e.get("usage")], [30])
                self.assertTrue(up.next_request().path.endswith("/converse-stream"))

    def test_tools_are_called_and_answered(self):
        events = [event("messageStart", {"role": "assistant"}),
                  event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "tooluse_1", "name": "weather"}}}),
                  event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"city":'}}}),
                  event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '"Paris"}'}}}),
                  event("contentBlockStop", {"contentBlockIndex": 0}), event("messageStop", {"stopReason": "tool_use"}), event("metadata", bedrock.USAGE)]
        whole = {"toolUse": {"toolUseId": "tooluse_2", "name": "weather", "input": {"city": "Oslo"}}}
        scripts = (answering(REGION, events=events), answering(REGION, whole, reason="tool_use"), answering(REGION, {"text": "Rain"}))
        with Upstream(*scripts) as up, Gateway(project(up)) as gateway:
            streamed = gateway.chat(stream=True, tools=TOOLS, tool_choice="required")
            calls = [e["choices"][0]["delta"]["tool_calls"][0] for e in chunks(streamed) if e["choices"] and e["choices"][0]["delta"].get("tool_calls")]
            self.assertEqual((calls[0]["id"], calls[0]["function"]["name"]), ("tooluse_1", "weather"))
            self.assertEqual("".join(call["function"].get("arguments", "") for call in calls), '{"city":"Paris"}')

            asked = gateway.chat(tools=TOOLS).json["choices"][0]
            self.assertEqual(asked["finish_reason"], "tool_calls")
            self.assertEqual(json.loads(asked["message"]["tool_calls"][0]["function"]["arguments"]), {"city": "Oslo"})

            told = gateway.chat(messages=[{"role": "user", "content": "Weather?"}, asked["message"], {"role": "tool", "tool_call_id": "tooluse_2", "content": ""}])
            self.assertEqual(told.status, 200, told.body)

    def test_reasoning_goes_back_signed(self):
        events = [event("messageStart", {"role": "assistant"}),
                  event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}),
                  event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "c2ln"}}}),
                  event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "So"}}), *text_events()[1:]]
        with Upstream(answering(REGION, events=events), answering(REGION, {"text": "And"})) as up, Gateway(project(up)) as gateway:
            streamed = gateway.chat(stream=True, reasoning_effort="low", max_completion_tokens=8000)
            self.assertEqual(up.next_request().json["additionalModelRequestFields"]["thinking"]["type"], "enabled")
            details = [d for e in chunks(streamed) for c in e["choices"] for d in c["delta"].get("reasoning_details", [])]
            self.assertIn("c2ln", json.dumps(details))
            said = {"role": "assistant", "content": "So", "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "c2ln", "format": "bedrock"}]}
            again = gateway.chat(messages=[{"role": "user", "content": "Hi"}, said, {"role": "user", "content": "And?"}])
            self.assertEqual(again.status, 200, again.body)
            self.assertEqual(up.next_request().json["messages"][1]["content"][0],
                             {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}})

    def test_pictures_documents_and_schemas_are_what_the_service_takes(self):
        content = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                   {"type": "file", "file": {"filename": "r.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}]
        with Upstream(answering(REGION, {"text": "{}"})) as up, Gateway(project(up)) as gateway:
            answer = gateway.chat(messages=[{"role": "user", "content": content}], response_format={
                "type": "json_schema", "json_schema": {"name": "out", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}})
            self.assertEqual(answer.status, 200, answer.body)

    def test_an_exception_before_content_is_failed_over(self):
        for failing, wanted in ((exception("throttlingException", "slow"), "rate_limited"), (exception("strangeException", "x"), "server_error"),
                                (bedrock.frame(b"", message_type="error", error_code="InternalError", error_message="broke"), "server_error"),
                                (text_events("x")[1][:-1] + b"\0", "server_error")):
            start = event("messageStart", {"role": "assistant"})
            with Upstream(answering(REGION, events=[start, failing]), answering(REGION, events=text_events("better"))) as up:
                with Gateway(project(up, targets=f'"aws/{MODEL}", "aws/amazon.nova-pro-v1:0"', attempts=2)) as gateway:
                    answer = gateway.chat(stream=True)
                    self.assertEqual(answer.text, "better")
                    self.assertEqual(gateway.trace(answer)["attempts"][0]["class"], wanted)

    def test_frames_that_end_too_early_are_no_answer(self):
        with Upstream(answering(REGION, events=text_events("Hel", "lo")[:2])) as up, Gateway(project(up)) as gateway:
            answer = gateway.chat(stream=True)
            self.assertNotIn("[DONE]", answer.events)
            self.assertEqual(gateway.trace(answer)["attempts"][0]["class"], "truncated_stream")


if __name__ == "__main__":
    main()
