"""Keys that are good for tokens only: service accounts of Google, applications of Microsoft Entra. Tokens are made, shared, renewed."""

import json
import threading
import time
import unittest

from moongate import *
from token_endpoint import ServiceAccount, TokenEndpoint


def answer(adapter):
    if adapter == "vertex_gemini":
        return {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}
    if adapter == "vertex_anthropic":
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hello"}],
                "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 2}}
    return completion("Hello")


def cloud(endpoint, adapter="vertex_gemini", dead=()):
    """A provider that takes what the endpoint gave, but for what is dead."""
    def script(sock, request):
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in endpoint.given and token not in dead:
            respond(200, answer(adapter))(sock, request)
        else:
            respond(401, {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": f"bad token {token}"}})(sock, request)
    return script


VARS = {"vertex_gemini": '{ location = "europe-west1", project = "p" }', "vertex_anthropic": '{ location = "europe-west1", project = "p" }',
        "azure": '{ resource = "r" }'}


def project_of(up, endpoint, adapter="vertex_gemini", key='env "CLOUD_KEY"', more="", url=None, attempts=1):
    url = url or endpoint.url + ("/{tenant}/oauth2/v2.0/token" if adapter == "azure" else "/token")
    auth = 'auth = "entra", ' if adapter == "azure" else ""
    return (f'return {{ providers = {{ cloud = {{ adapter = "{adapter}", base_url = "{up.url}", {auth}vars = {VARS[adapter]}, '
            f'api_key = {key}, token_url = "{url}", breaker = false, {more} }} }}, '
            f'workflows = {{ chat = {{ targets = {{ "cloud/gemini-3-pro" }}, max_attempts = {attempts} }} }} }}')


def world(up, endpoint, adapter="vertex_gemini", text=None, **more):
    text = text or (json.dumps(endpoint.entra) if adapter == "azure" else endpoint.account.text())
    return Gateway(project_of(up, endpoint, adapter, **more), env={"CLOUD_KEY": text})


def asked_at_once(gateway, count):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.chat())) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


class Tokens(unittest.TestCase):
    def test_a_service_accounts_signed_word_is_changed_for_a_token_once_for_all(self):
        for adapter in ("vertex_gemini", "vertex_anthropic"):
            with self.subTest(adapter), TokenEndpoint() as endpoint, Upstream(cloud(endpoint, adapter)) as up, \
                    world(up, endpoint, adapter) as gateway:
                endpoint.gate.clear()
                threads, answers = asked_at_once(gateway, 12)
                deadline = time.monotonic() + PATIENCE_S
                while not endpoint.asked and time.monotonic() < deadline:
                    time.sleep(0.005)
                self.assertEqual(gateway.request("GET", "/v1/models").status, 200)  # the workers are free meanwhile
                endpoint.gate.set()
                for thread in threads:
                    thread.join()
                self.assertEqual([a.status for a in answers], [200] * 12, answers[0].body)
                self.assertEqual(answers[0].json["choices"][0]["message"]["content"], "Hello")
                self.assertEqual(gateway.chat().status, 200)
                self.assertEqual(len(endpoint.asked), 1)

    def test_an_application_of_entra_gets_one_for_its_client_secret(self):
        for text in (None, json.dumps({"appId": "11111111-2222", "password": "s3cr~t/of+entra==", "tenant": "contoso.onmicrosoft.com"})):
            with TokenEndpoint() as endpoint, Upstream(cloud(endpoint, "azure")) as up, world(up, endpoint, "azure", text) as gateway:
                done = gateway.chat()
                self.assertEqual(done.status, 200, done.body)
                self.assertEqual(len(endpoint.asked), 1)

    def test_a_token_is_sent_as_it_is(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, world(up, endpoint, text="ya29.made-elsewhere") as gateway:
            endpoint.given.append("ya29.made-elsewhere")
            self.assertEqual(gateway.chat().status, 200)
            self.assertEqual(endpoint.asked, [])

    def test_a_token_near_its_end_is_renewed_while_it_is_still_used(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, world(up, endpoint) as gateway:
            endpoint.lasts_s = 3
            self.assertEqual(gateway.chat().status, 200)
            deadline = time.monotonic() + 20
            endpoint.lasts_s = 3600
            while len(endpoint.given) < 2 and time.monotonic() < deadline:
                self.assertEqual(gateway.chat().status, 200)
                time.sleep(0.05)
            self.assertEqual(gateway.chat().status, 200)
            self.assertEqual(len(endpoint.given), 2)

    def test_a_token_that_has_ended_is_not_sent(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, world(up, endpoint) as gateway:
            endpoint.lasts_s = 1
            self.assertEqual(gateway.chat().status, 200)
            time.sleep(1.2)
            self.assertEqual(gateway.chat().status, 200)
            up.next_request()
            self.assertEqual(up.next_request().headers["authorization"], "Bearer ya29.token-number-1")

    def test_a_token_that_was_revoked_is_renewed_once(self):
        dead = set()
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint, dead=dead)) as up, world(up, endpoint) as gateway:
            self.assertEqual(gateway.chat().status, 200)
            dead.update(endpoint.given)
            time.sleep(10.2)  # one that was refused as soon as it was made is not the token's fault
            done = gateway.chat()
            self.assertEqual(done.status, 200, done.body)
            self.assertEqual(len(endpoint.given), 2)
            self.assertEqual(len(gateway.trace(done)["attempts"]), 1)
            self.assertEqual(up.count, 3)

    def test_a_key_that_may_do_nothing_is_its_own_fault_and_asks_no_more(self):
        with TokenEndpoint() as endpoint, Upstream(error_answer(401)) as up, world(up, endpoint) as gateway:
            failed = gateway.chat()
            self.assertEqual(gateway.trace(failed)["attempts"][0]["class"], "auth")
            self.assertEqual((up.count, len(endpoint.asked)), (1, 1))

    def test_what_is_wrong_with_a_key_stands_in_the_timeline_and_benches_it(self):
        cases = [
            (lambda e: e.account.text(private_key=ServiceAccount("").pem), "refused the key with status 400: invalid_grant: InvalidSignature"),
            (lambda e: e.account.text(private_key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "no RSA key in PEM"),
            (lambda e: '{"type": "service_account"}', "client_email or private_key is missing"),
            (lambda e: '{"type": "metadata_server"}', "for accounts of gateway.lua only"),
            (lambda e: '{"type": "external_account"}', "neither the key file of a service account"),
            (lambda e: '{"type": "service_account",}', "no valid JSON"),
        ]
        for make, said in cases:
            with self.subTest(said), TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, world(up, endpoint, text=make(endpoint)) as gateway:
                failed = gateway.chat()
                self.assertEqual(failed.status, 502, failed.body)
                attempt = gateway.trace(failed)["attempts"][0]
                self.assertEqual(attempt["class"], "auth", attempt)
                self.assertIn(said, json.dumps(attempt))
                gateway.chat()  # the key is benched now
                self.assertEqual(up.count, 0)
                self.assertLessEqual(len(endpoint.asked), 1)

    def test_a_key_file_sends_nobody_anywhere(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up:
            lua = project_of(up, endpoint).replace(f'token_url = "{endpoint.url}/token", ', "")
            with Gateway(lua, env={"CLOUD_KEY": endpoint.account.text()}) as gateway:
                self.assertIn("none of Google's", json.dumps(gateway.trace(gateway.chat())["attempts"][0]))
                self.assertEqual(endpoint.asked, [])

    def test_an_endpoint_that_is_down_is_the_providers_failure_and_heals_by_itself(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, world(up, endpoint) as gateway:
            endpoint.status = 503
            failed = gateway.trace(gateway.chat())["attempts"][0]
            self.assertEqual(failed["class"], "server_error", failed)
            self.assertIn("the token endpoint failed with status 503", json.dumps(failed))
            endpoint.status = 200
            deadline = time.monotonic() + 15
            while gateway.chat().status != 200 and time.monotonic() < deadline:
                time.sleep(0.2)
            self.assertEqual(gateway.chat().status, 200)
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, world(up, endpoint, url=f"http://127.0.0.1:{port}/token") as gateway:
            failed = gateway.trace(gateway.chat())["attempts"][0]
            self.assertEqual((failed["class"], up.count), ("network", 0), failed)

    def test_another_target_answers_while_no_token_can_be_made(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, Upstream(json_answer("spare")) as spare:
            endpoint.status = 400
            lua = project_of(up, endpoint).replace("providers = {", f'providers = {{ spare = {{ base_url = "{spare.url}", api_key = "k" }}, ') \
                .replace('"cloud/gemini-3-pro"', '"cloud/gemini-3-pro", "spare/m"').replace("max_attempts = 1", "max_attempts = 3")
            with Gateway(lua, env={"CLOUD_KEY": endpoint.account.text()}) as gateway:
                self.assertEqual(gateway.chat().json["choices"][0]["message"]["content"], "spare")

    def test_clocks_that_differ_a_little_do_not_matter_and_much_is_said(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, world(up, endpoint) as gateway:
            endpoint.clock_s = -8
            self.assertEqual(gateway.chat().status, 200)
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up, world(up, endpoint) as gateway:
            endpoint.clock_s = -600
            self.assertIn("is this machine's clock right?", json.dumps(gateway.trace(gateway.chat())["attempts"][0]))

    def test_a_reload_keeps_the_token_and_a_new_key_gets_a_new_one(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up:
            gateway = Gateway(project_of(up, endpoint, key='secret "cloud"'))

            def keep(verb, text):
                subprocess.run([BIN, "secret", verb, "cloud", "--project", "main", "-c", gateway.path], input=text, text=True, check=True,
                               capture_output=True, timeout=PATIENCE_S, env=clean_env())

            keep("set", endpoint.account.text())
            with gateway:
                self.assertEqual(gateway.chat().status, 200)
                mark = len(gateway.lines)
                gateway.write("projects/main.lua", project_of(up, endpoint, key='secret "cloud"', attempts=2))
                gateway.wait_line("generation.swapped project=main", mark)
                self.assertEqual(gateway.chat().status, 200)
                self.assertEqual(len(endpoint.given), 1)
                endpoint.account = ServiceAccount(endpoint.url + "/token")
                keep("rotate", endpoint.account.text())
                done = gateway.chat()
                self.assertEqual(done.status, 200, done.body)
                self.assertEqual(len(endpoint.given), 2)

    def test_the_machines_identity_is_for_accounts_of_the_operator(self):
        with TokenEndpoint() as endpoint, Upstream(cloud(endpoint)) as up:
            lua = project_of(up, endpoint).replace('api_key = env "CLOUD_KEY"', 'account = "gce"')
            with Gateway(lua, gateway="""accounts = { gce = { api_key = '{"type": "metadata_server"}', projects = { "main" } } }""") as gateway:
                done = gateway.chat()
                self.assertEqual(done.status, 200, done.body)
                self.assertEqual(endpoint.asked, [{}])

    def test_nothing_of_a_key_or_a_token_is_told(self):
        for adapter in ("vertex_gemini", "azure"):
            with TokenEndpoint() as endpoint, Upstream(cloud(endpoint, adapter, dead={"ya29.token-number-0"})) as up, world(up, endpoint, adapter) as gateway:
                failed = gateway.chat()
                told = failed.body.decode() + json.dumps(gateway.trace(failed)) + gateway.cli("logs", "--json") + gateway.cli("targets")
                gateway.stop()
                told += "".join(gateway.lines)
                for secret in ("token-number-0", endpoint.account.pem.split("\n")[3], endpoint.entra["client_secret"]):
                    self.assertNotIn(secret, told)


if __name__ == "__main__":
    main()
