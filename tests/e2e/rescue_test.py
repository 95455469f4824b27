"""What the official SDK's accumulator puts together of a stream that another target went on with: it appends what it gets,
so that whatever comes twice is seen."""

import unittest

from moongate import *

MESSAGES = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}}]


def event(id, delta, finish=None):
    return {**chunk(delta, finish), "id": id, "created": 1795392000 + len(id)}


def call(arguments, **first):
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **({"name": "find"} if first else {})}, **first}]}


def resumed(sent, again, **options):
    """The final message of the SDK's accumulator, and the answer's bytes."""
    sent = stream(*[event("first", delta) for delta in sent], then="cut")
    again = [event("second-id", delta) for delta in again]
    again[-1]["choices"][0]["finish_reason"] = "tool_calls" if options else "stop"
    with Upstream(sent) as a, Upstream(stream(*again, "[DONE]")) as b, \
            Gateway(project(a, b, workflow='rescue = "resume", deadline_ms = 8000')) as gw:
        with gw.client().chat.completions.stream(model="chat", messages=MESSAGES, **options) as events:
            final = events.get_final_completion()
        return final, gw.chat(stream=True)


class Accumulated(unittest.TestCase):
    def test_text_with_a_role_in_every_chunk_of_the_second(self):
        role = {"role": "assistant"}
        final, raw = resumed([{**role, "content": ""}, {"content": "one "}, {"content": "tw"}],
                             [{**role, "content": ""}, {**role, "content": "one two"}, {**role, "content": " three"}, role])

        message = final.choices[0].message
        self.assertEqual((final.id, message.role, message.content, final.choices[0].finish_reason), ("first", "assistant", "one two three", "stop"))
        parsed = [json.loads(text) for text in raw.events[:-1]]
        self.assertEqual(({one["id"] for one in parsed}, len({one["created"] for one in parsed})), ({"first"}, 1))

    def test_text_that_begins_with_blanks(self):
        final, _ = resumed([{"role": "assistant", "content": "\n"}, {"content": "\n"}, {"content": "one"}],
                           [{"role": "assistant", "content": "\n\n"}, {"content": "one"}, {"content": " two"}, {}])

        self.assertEqual(final.choices[0].message.content, "\n\none two")

    def test_a_tool_call_keeps_the_id_the_client_knows(self):
        begun = {"role": "assistant", "content": None, **call("", id="call_1", type="function")}
        again = {"role": "assistant", "content": None, **call('{"q"', id="call_2", type="function")}
        final, _ = resumed([begun, call('{"q": "har')], [again, call(': "harbour"}'), {}], tools=TOOLS)

        tool, = final.choices[0].message.tool_calls
        self.assertEqual((tool.id, tool.type, tool.function.name, tool.function.arguments), ("call_1", "function", "find", '{"q": "harbour"}'))
        self.assertEqual(final.choices[0].message.role, "assistant")


if __name__ == "__main__":
    main()
