"""Pictures, sound, moderation, files: every call of the official SDK beside the conversations reaches a vendor that checks strictly
what it gets, and comes back as that SDK expects it."""

import base64
import io
import json
import unittest

import openai

from moongate import *
from vendors import openai_media

KINDS = ("images", "speech", "hears", "moderations")


def project(*upstreams, extra="", workflow=""):
    providers = "".join(f'p{i} = {{ adapter = "openai", base_url = "{up.url}", api_key = "sk-{i}", breaker = false }},' for i, up in enumerate(upstreams))
    targets = "".join(f'"p{i}/model-{i}",' for i in range(len(upstreams)))
    flows = "".join(f"{name} = {{ targets = {{ {targets} }}, {workflow} }}," for name in KINDS)
    return f"return {{ providers = {{ {providers} }}, workflows = {{ {flows} }}, {extra} }}"


class World(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = Upstream(openai_media.answer)
        cls.up.__enter__()
        cls.gw = Gateway(project(cls.up))
        cls.gw.__enter__()
        cls.client = cls.gw.client()

    @classmethod
    def tearDownClass(cls):
        cls.gw.__exit__(None, None, None)
        cls.up.__exit__(None, None, None)

    def asked(self):
        """What the vendor was asked last."""
        request = self.up.next_request()
        return request, openai_media.check(request)[1]

    def tearDown(self):
        while not self.up.requests.empty():
            self.up.requests.get()


class Pictures(World):
    def test_generated_whole(self):
        made = self.client.images.generate(model="images", prompt="a moon gate", n=2, size="1024x1024")
        self.assertEqual([item.b64_json for item in made.data], [openai_media.PICTURE] * 2)
        self.assertEqual(made.usage.output_tokens, 34)
        self.assertEqual(self.asked()[1], {"model": "model-0", "prompt": "a moon gate", "n": 2, "size": "1024x1024"})

    def test_generated_as_a_stream_of_partial_pictures(self):
        seen = list(self.client.images.generate(model="images", prompt="x", stream=True, partial_images=1))
        self.assertEqual([event.type for event in seen], ["image_generation.partial_image", "image_generation.completed"])
        self.assertEqual(seen[1].b64_json, openai_media.PICTURE)
        self.assertEqual(self.asked()[1], {"model": "model-0", "prompt": "x", "stream": True, "partial_images": 1})

    def test_edited_with_several_pictures_and_a_mask(self):
        images = [("a.png", b"\x89PNG\r\n\x1a\n" + b"a" * 90, "image/png"), ("b.png", b"\x89PNG\r\n--b", "image/png")]
        made = self.client.images.edit(model="images", prompt="more light", image=images, mask=("m.png", b"mask", "image/png"))
        self.assertEqual(made.data[0].b64_json, openai_media.PICTURE)
        fields = self.asked()[1]
        self.assertEqual((fields["model"], fields["prompt"], fields["image[]"], fields["mask"]), (["model-0"], ["more light"], [i[1] for i in images], [b"mask"]))

    def test_edited_as_a_stream(self):
        seen = list(self.client.images.edit(model="images", prompt="x", image=("a.png", b"png", "image/png"), stream=True))
        self.assertEqual([event.type for event in seen], ["image_edit.partial_image", "image_edit.completed"])

    def test_varied(self):
        made = self.client.images.create_variation(model="images", image=("a.png", b"png", "image/png"), n=3)
        self.assertEqual(len(made.data), 3)
        self.assertEqual(self.asked()[1]["n"], ["3"])


class Sound(World):
    def test_spoken_whole(self):
        self.assertEqual(self.client.audio.speech.create(model="speech", voice="alloy", input="Hello").content, openai_media.SOUND)
        self.assertEqual(self.asked()[1], {"model": "model-0", "voice": "alloy", "input": "Hello"})

    def test_spoken_piece_by_piece(self):
        with self.client.audio.speech.with_streaming_response.create(model="speech", voice="alloy", input="Hello") as answer:
            self.assertEqual(answer.headers["content-type"], "audio/mpeg")
            self.assertEqual(b"".join(answer.iter_bytes()), openai_media.SOUND)

    def test_spoken_as_events(self):
        with self.client.audio.speech.with_streaming_response.create(model="speech", voice="alloy", input="Hello", stream_format="sse") as answer:
            lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
        self.assertEqual([json.loads(line[6:])["type"] for line in lines], ["speech.audio.delta", "speech.audio.done"])

    def hear(self, **more):
        return self.client.audio.transcriptions.create(model="hears", file=("a.wav", b"RIFF\r\n--\r\n" + bytes(range(256)), "audio/wav"), **more)

    def test_heard_as_json_text_and_subtitles(self):
        self.assertEqual(self.hear().text, "Hello.")
        fields = self.asked()[1]
        self.assertEqual((fields["model"], fields["file"]), (["model-0"], [b"RIFF\r\n--\r\n" + bytes(range(256))]))
        self.assertEqual(self.hear(response_format="text"), "Hello.\n")
        self.assertTrue(self.hear(response_format="srt").startswith("1\n"))
        self.assertEqual(self.hear(response_format="verbose_json", timestamp_granularities=["word", "segment"]).duration, 2.5)

    def test_heard_as_a_stream(self):
        seen = list(self.hear(stream=True))
        self.assertEqual([event.type for event in seen], ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"])
        self.assertEqual(seen[-1].text, "Hello.")

    def test_translated(self):
        self.assertEqual(self.client.audio.translations.create(model="hears", file=("a.mp3", b"ID3", "audio/mpeg")).text, "Hello.")


class Others(World):
    def test_moderated(self):
        seen = self.client.moderations.create(model="moderations", input=["a", "b"])
        self.assertFalse(seen.results[0].flagged)
        self.assertEqual(self.asked()[1], {"model": "model-0", "input": ["a", "b"]})

    def test_files_are_uploaded_listed_read_and_deleted(self):
        made = self.client.files.create(file=("a.jsonl", b'{"custom_id": "a"}\n'), purpose="batch")
        request, fields = self.asked()
        self.assertEqual((made.id, fields), ("file-abc", {"purpose": ["batch"], "file": [b'{"custom_id": "a"}\n']}))
        self.assertEqual(request.headers["authorization"], "Bearer sk-0")
        self.assertEqual([item.id for item in self.client.files.list(purpose="batch", limit=10)], ["file-abc"])
        self.assertEqual(self.asked()[1], {"purpose": ["batch"], "limit": ["10"]})
        self.assertEqual(self.client.files.retrieve("file-abc").filename, "a.jsonl")
        self.assertEqual(self.client.files.content("file-abc").content, b'{"custom_id": "a"}\n\x00\xff')
        self.assertTrue(self.client.files.delete("file-abc").deleted)


class Reranked(unittest.TestCase):
    """Cohere's own API and those who have its shape: asked as the client asks, answered as they answer, errors as OpenAI tells them."""

    ASKED = {"model": "ranks", "query": "moon", "documents": ["a", "b"], "top_n": 1}
    ANSWER = {"id": "x", "results": [{"index": 1, "relevance_score": 0.9}], "meta": {"billed_units": {"search_units": 1}}}

    def project(self, up, adapter):
        return (f'return {{ providers = {{ p0 = {{ adapter = "{adapter}", base_url = "http://127.0.0.1:{up.port}/v2", api_key = "sk-0", breaker = false }} }}, '
                'workflows = { ranks = { targets = { { "p0/rerank-v3.5", price_usd = { input = 0, search = 0.002 } } } } } }')

    def test_by_cohere_and_by_who_is_compatible(self):
        for adapter in ("cohere", "openai", "together"):
            with Upstream(respond(200, self.ANSWER)) as up, Gateway(self.project(up, adapter)) as gw:
                for path in ("/v1/rerank", "/v2/rerank"):
                    got = gw.request("POST", path, self.ASKED)
                    self.assertEqual((got.status, got.json), (200, self.ANSWER))
                    sent = up.next_request()
                    self.assertEqual((sent.path, sent.json), ("/v2/rerank", {**self.ASKED, "model": "rerank-v3.5"}))
                self.assertEqual(gw.trace(got)["attempts"][0]["cost_microusd"], 2000)

    def test_an_error_is_told_in_the_askers_dialect(self):
        with Upstream(respond(400, {"message": "too many documents"}, reason="Bad")) as up, Gateway(self.project(up, "cohere")) as gw:
            got = gw.request("POST", "/v1/rerank", self.ASKED)
            self.assertEqual((got.status, got.json["error"]["message"], got.json["error"]["type"]), (400, "too many documents", "invalid_request_error"))

    def test_a_provider_that_has_no_such_thing_is_named(self):
        with Upstream() as up, Gateway(self.project(up, "anthropic")) as gw:
            got = gw.request("POST", "/v1/rerank", self.ASKED)
            self.assertEqual((got.status, got.json["error"]["param"]), (400, "model"))
            self.assertIn("anthropic offers no rerank", got.json["error"]["message"])


class Metered(unittest.TestCase):
    """Pictures, seconds, characters and search units are counted and priced beside tokens."""

    PRICE = "{ input = 1, output = 10, image = 0.04, audio_minute = 0.6, characters = 15, search = 0.002 }"

    def test_each_is_recorded_and_costs_what_the_target_says(self):
        with Upstream(openai_media.answer) as up:
            flows = "".join(f'{name} = {{ targets = {{ {{ "p0/m", price_usd = {self.PRICE} }} }} }},' for name in KINDS[:1])
            targets = f'p0 = {{ adapter = "openai", base_url = "{up.url}", api_key = "sk-0", breaker = false }},'
            text = f'return {{ providers = {{ {targets} }}, workflows = {{ {flows} }} }}'
            with Gateway(text) as gw:
                client = gw.client()
                client.images.generate(model="images", prompt="x", n=2)
                list(client.images.generate(model="images", prompt="x", stream=True))
                client.audio.speech.create(model="images", voice="alloy", input="Grüße \U0001f319")
                client.audio.transcriptions.create(model="images", file=("a.wav", b"RIFF", "audio/wav"))
                client.audio.transcriptions.create(model="images", file=("a.wav", b"RIFF", "audio/wav"), response_format="text")
                self.assertEqual(gw.stop(), 0)
                events = [json.loads(line) for line in gw.cli("usage", "events", "--json").splitlines()]
        seen = [(e.get("images", 0), e.get("audio_ms", 0), e.get("characters", 0), e["input_tokens"], e["output_tokens"], e["cost_picousd"]) for e in events]
        tokens = 12 * 10**6 + 34 * 10**7
        self.assertEqual(seen, [
            (2, 0, 0, 12, 34, tokens + 80_000_000_000), (1, 0, 0, 12, 34, tokens + 40_000_000_000),
            (0, 0, 7, 0, 0, 7 * 15_000_000), (0, 3000, 0, 0, 0, 30_000_000_000), (0, 0, 0, 0, 0, 0)])


if __name__ == "__main__":
    main()
