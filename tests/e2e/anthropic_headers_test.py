"""The version and the betas that an Anthropic client names: handed on to whoever speaks that dialect, kept from everybody else."""

import unittest

import anthropic

from moongate import *

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "hello"}],
           "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 3}}


def project_of(up, adapter):
    return (f'return {{ providers = {{ p = {{ adapter = "{adapter}", base_url = "{up.url}", api_key = "k" }} }}, workflows = {{ chat = {{ "p/m" }} }} }}')


class Versions(unittest.TestCase):
    def ask(self, gw, **headers):
        client = anthropic.Anthropic(base_url=gw.url.removesuffix("/v1"), api_key=gw.keys["main"], max_retries=0)
        return client.beta.messages.create(model="chat", max_tokens=5, messages=[{"role": "user", "content": "hi"}], betas=["context-1m", "files-api"],
                                           extra_headers={"anthropic-version": "2026-10-21", **headers})

    def test_each_request_has_its_own_at_a_provider_of_the_dialect(self):
        with Upstream(respond(200, MESSAGE)) as up, Gateway(project_of(up, "anthropic")) as gw:
            self.assertEqual(self.ask(gw).content[0].text, "hello")
            sent = up.next_request()
            self.assertEqual((sent.headers["anthropic-version"], sent.headers["anthropic-beta"]), ("2026-10-21", "context-1m,files-api"))
            self.assertEqual(len([1 for name, _ in sent.raw_headers if name.lower() == "anthropic-version"]), 1)
            gw.request("POST", "/v1/messages", {"model": "chat", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
            sent = up.next_request()
            self.assertEqual(sent.headers["anthropic-version"], "2023-06-01")    # who names none gets the one that takes sampling parameters
            self.assertNotIn("anthropic-beta", sent.headers)

    def test_others_hear_nothing_of_it(self):
        with Upstream(json_answer("hello")) as up, Gateway(project_of(up, "openai_chat")) as gw:
            self.assertEqual(self.ask(gw).content[0].text, "hello")
            self.assertEqual([name for name in up.next_request().headers if name.startswith("anthropic")], [])

    def test_clients_of_other_dialects_get_the_usual_version(self):
        with Upstream(respond(200, MESSAGE)) as up, Gateway(project_of(up, "anthropic")) as gw:
            self.assertEqual(gw.chat(headers={"anthropic-beta": "x", "anthropic-version": "1"}).json["choices"][0]["message"]["content"], "hello")
            sent = up.next_request()
            self.assertEqual(sent.headers["anthropic-version"], "2023-06-01")
            self.assertNotIn("anthropic-beta", sent.headers)


if __name__ == "__main__":
    main()
