"""TLS in and out: versions, trust, client certificates, resumption, new certificates under way, and proxies."""

import contextlib
import shutil
import ssl
import tempfile
import threading
import unittest
import warnings

import openai

from moongate import *

FOLDER = tempfile.TemporaryDirectory(prefix="moongate-test-")
HERE = FOLDER.name
CERT, KEY = certificate(f"{HERE}/localhost")
OTHER_CERT, OTHER_KEY = certificate(f"{HERE}/other")  # as good as the first, but nobody was told to trust it
NAMED_CERT, NAMED_KEY = certificate(f"{HERE}/named", "elsewhere.example")
CLIENT_CERT, CLIENT_KEY = certificate(f"{HERE}/client", "client.example")


def tearDownModule():
    FOLDER.cleanup()


def trusting(ca=CERT, version=None, own=None):
    """What a client uses that trusts `ca`."""
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if version:
        context.minimum_version = context.maximum_version = version
    if own:
        context.load_cert_chain(*own)
    return context


def serving(cert=CERT, key=KEY, client_ca=None, version=None):
    """What an upstream serves with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def listener(cert=CERT, key=KEY, more=""):
    return ('return { listen = { { address = "127.0.0.1:0", cert = "%s", key = "%s", %s } }, admin = "127.0.0.1:0", workers = 1, '
            'data_dir = "data" }' % (cert, key, more))


def provider(url, tls="", more=""):
    """A project whose one provider stands at the URL."""
    return ('return { providers = { p0 = { base_url = "%s", api_key = "secret-0", tls = { %s }, %s } }, '
            'workflows = { chat = "p0/model-0" } }' % (url, tls, more))


class FromClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = Upstream(json_answer("over tls")).__enter__()
        cls.gw = Gateway(project(cls.up), listener(), tls=trusting()).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.gw.__exit__(None, None, None)
        cls.up.__exit__()

    def with_context(self, context):
        self.addCleanup(setattr, self.gw, "tls", self.gw.tls)
        self.gw.tls = context

    def test_both_versions_are_spoken_and_http_1_1_is_agreed_on(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            with self.subTest(name):
                self.with_context(trusting(version=version))
                with self.gw.connect() as sock:
                    self.assertEqual((sock.version(), sock.selected_alpn_protocol()), (name, "http/1.1"))
                self.assertEqual(self.gw.chat().status, 200)

    def test_older_versions_are_refused(self):
        context = trusting()
        with warnings.catch_warnings(action="ignore"):  # that it is old is the point
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        self.with_context(context)

        self.assertRaises((ssl.SSLError, ConnectionError), self.gw.connect)

    def test_a_client_that_trusts_another_certificate_leaves_and_the_next_is_served(self):
        self.with_context(trusting(OTHER_CERT))
        self.assertRaises(ssl.SSLCertVerificationError, self.gw.connect)
        self.with_context(trusting())
        self.assertEqual(self.gw.chat().status, 200)

    def test_sessions_are_resumed(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version):
                self.with_context(trusting(version=version))
                with self.gw.connect() as sock:
                    sock.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n\r\n" % self.gw.keys["main"].encode())
                    self.assertEqual(read_response(sock.makefile("rb")).status, 200)
                    session = sock.session
                plain = socket.create_connection(("127.0.0.1", self.gw.port), timeout=PATIENCE_S)
                with self.gw.tls.wrap_socket(plain, server_hostname="localhost", session=session) as sock:
                    self.assertTrue(sock.session_reused)

    def test_who_does_not_speak_tls_is_closed(self):
        with socket.create_connection(("127.0.0.1", self.gw.port), timeout=PATIENCE_S) as sock:
            sock.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                while data := sock.recv(4096):
                    self.assertNotIn(b"HTTP/1.1", data)

    def test_the_sdk_reads_answers_and_streams(self):
        with openai.DefaultHttpxClient(verify=trusting(), timeout=PATIENCE_S) as http:
            client = self.gw.client(http_client=http)
            messages = [{"role": "user", "content": "hi"}]
            self.assertEqual(client.chat.completions.create(model="chat", messages=messages).choices[0].message.content, "over tls")
            self.up.answer(stream(*good_events("one ", "two")), json_answer("over tls"))
            parts = [event.choices[0].delta.content for event in client.chat.completions.create(model="chat", stream=True, messages=messages)]
            self.assertEqual("".join(part or "" for part in parts), "one two")

    def test_large_bodies_pass_both_ways(self):
        text = "moon " * 400_000
        self.up.answer(json_answer(text), json_answer("over tls"))
        answer = self.gw.request("POST", "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": text}]})

        self.assertEqual(answer.json["choices"][0]["message"]["content"], text)


class FromClientsWithCertificates(unittest.TestCase):
    def test_only_clients_with_a_certificate_of_the_ca_are_served(self):
        more = f'client_ca = "{CLIENT_CERT}"'
        with Upstream(json_answer("ok")) as up, Gateway(project(up), listener(more=more), tls=trusting(own=(CLIENT_CERT, CLIENT_KEY))) as gw:
            self.assertEqual(gw.chat().status, 200)
            for own in (None, (OTHER_CERT, OTHER_KEY)):
                gw.tls = trusting(own=own)
                with self.assertRaises((ssl.SSLError, ConnectionError)):
                    gw.chat()
            self.assertEqual(up.count, 1)


class NewCertificates(unittest.TestCase):
    def test_new_connections_get_the_new_one_and_old_ones_live_on(self):
        folder = f"{HERE}/live"
        cert, key = certificate(folder)
        with Upstream(json_answer("ok")) as up, Gateway(project(up), listener(cert, key), tls=trusting(cert)) as gw:
            request = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n\r\n" % gw.keys["main"].encode()
            with gw.connect() as old:
                file = old.makefile("rb")
                old.sendall(request)
                self.assertEqual(read_response(file).status, 200)

                seen = len(gw.lines)
                with open(cert, "w") as out:
                    out.write("not a certificate")
                gw.wait_line("certificate.refused", seen)
                gw.connect().close()

                seen = len(gw.lines)
                shutil.copy(OTHER_KEY, key)
                shutil.copy(OTHER_CERT, cert)
                gw.wait_line("certificate.reloaded", seen)
                self.assertRaises(ssl.SSLCertVerificationError, gw.connect)
                gw.tls = trusting(OTHER_CERT)
                self.assertEqual(gw.chat().status, 200)

                old.sendall(request)
                self.assertEqual(read_response(file).status, 200)


class ToProviders(unittest.TestCase):
    def assert_unreachable(self, up, gw):
        answer = gw.chat()
        self.assertEqual(answer.status, 502)
        attempt = gw.trace(answer)["attempts"][-1]
        self.assertEqual(attempt["class"], "network")
        self.assertEqual(up.count, 0)
        return attempt

    def test_a_trusted_provider_answers_in_either_version(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version), Upstream(json_answer("safe"), tls=serving(version=version)) as up, \
                    Gateway(provider(up.url, f'ca = "{CERT}"')) as gw:
                answer = gw.chat()
                self.assertEqual(answer.json["choices"][0]["message"]["content"], "safe")
                self.assertGreater(gw.trace(answer)["attempts"][0]["marks"]["tls"], 0)

    def test_an_unknown_ca_is_refused(self):
        with Upstream(tls=serving()) as up, Gateway(provider(up.url)) as gw:
            self.assert_unreachable(up, gw)
        with Upstream(tls=serving()) as up, Gateway(provider(up.url, f'ca = "{OTHER_CERT}"')) as gw:
            self.assert_unreachable(up, gw)

    def test_a_certificate_for_another_host_is_refused(self):
        with Upstream(tls=serving(NAMED_CERT, NAMED_KEY)) as up, Gateway(provider(up.url, f'ca = "{NAMED_CERT}"')) as gw:
            self.assert_unreachable(up, gw)

    def test_verification_can_be_switched_off(self):
        with Upstream(json_answer("ok"), tls=serving(NAMED_CERT, NAMED_KEY)) as up, Gateway(provider(up.url, "verify = false")) as gw:
            self.assertEqual(gw.chat().status, 200)

    def test_the_next_target_answers_when_the_first_cannot_be_trusted(self):
        with Upstream(tls=serving()) as bad, Upstream(json_answer("fine")) as good, Gateway(project(bad, good)) as gw:
            answer = gw.chat()

            self.assertEqual((answer.status, answer.headers["x-moongate-provider"]), (200, "p1"))
            self.assertEqual((bad.count, gw.trace(answer)["attempts"][0]["class"]), (0, "network"))

    def test_a_client_certificate_is_shown(self):
        own = f'ca = "{CERT}", cert = "{CLIENT_CERT}", key = "{CLIENT_KEY}"'
        with Upstream(json_answer("ok"), tls=serving(client_ca=CLIENT_CERT)) as up, Gateway(provider(up.url, own)) as gw:
            self.assertEqual(gw.chat().status, 200)
            self.assertIn((("commonName", "client.example"),), up.next_request().peer["subject"])

    def test_without_the_certificate_that_is_asked_for_it_fails(self):
        with Upstream(json_answer("ok"), tls=serving(client_ca=CLIENT_CERT)) as up, Gateway(provider(up.url, f'ca = "{CERT}"')) as gw:
            self.assert_unreachable(up, gw)

    def test_the_second_connection_resumes_the_session_of_the_first(self):
        def once(sock, request):
            json_answer("ok")(sock, request)
            sock.unwrap()
            raise Closed

        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version), Upstream(once, tls=serving(version=version)) as up, \
                    Gateway(provider(up.url, f'ca = "{CERT}"'), "workers = 1,") as gw:
                self.assertEqual([gw.chat().status for _ in range(3)], [200] * 3)
                self.assertEqual([up.next_request().resumed for _ in range(3)], [False, True, True])

    def test_a_warm_connection_is_used_again(self):
        with Upstream(json_answer("ok"), tls=serving()) as up, Gateway(provider(up.url, f'ca = "{CERT}"'), "workers = 1,") as gw:
            self.assertEqual([gw.chat().status for _ in range(3)], [200] * 3)
            self.assertEqual(len({id(up.next_request().sock) for _ in range(3)}), 1)

    def test_a_stream_cut_without_a_farewell_is_no_end(self):
        with Upstream(stream(*good_events("par")[:2], then="cut"), tls=serving()) as up, Gateway(provider(up.url, f'ca = "{CERT}"')) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.text, answer.clean), ("par", False))


class Proxy:
    """An HTTP proxy that knows CONNECT, and counts; `refuse` is the status it answers instead."""

    def __init__(self, refuse=None):
        self.refuse, self.heads = refuse, []

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *ignored):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(1)
            self.heads.append(head.decode())
            if self.refuse:
                sock.sendall(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % self.refuse)
                return
            host, port = head.split()[1].decode().rsplit(":", 1)
            with socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE_S) as origin:
                sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                threading.Thread(target=self._pump, args=(origin, sock), daemon=True).start()
                self._pump(sock, origin)

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class ThroughProxies(unittest.TestCase):
    def test_https_proxy_of_the_environment_is_asked_for_a_tunnel(self):
        with Proxy() as proxy, Upstream(json_answer("ok"), tls=serving()) as up, \
                Gateway(provider(up.url, f'ca = "{CERT}"'), env={"HTTPS_PROXY": f"http://me:pa%20ss@127.0.0.1:{proxy.port}"}) as gw:
            self.assertEqual(gw.chat().status, 200)
            self.assertEqual(proxy.heads[0].split("\r\n")[0], f"CONNECT localhost:{up.port} HTTP/1.1")
            self.assertIn("Proxy-Authorization: Basic bWU6cGEgc3M=\r\n", proxy.heads[0])
            self.assertNotIn("proxy-authorization", up.next_request().headers)

    def test_no_proxy_and_the_projects_word_go_before(self):
        with Proxy() as proxy, Upstream(json_answer("ok"), tls=serving()) as up:
            env = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}
            with Gateway(provider(up.url, f'ca = "{CERT}"'), env={**env, "NO_PROXY": "example.com,localhost"}) as gw:
                self.assertEqual(gw.chat().status, 200)
            with Gateway(provider(up.url, f'ca = "{CERT}"', 'proxy = ""'), env=env) as gw:
                self.assertEqual(gw.chat().status, 200)
            self.assertEqual(proxy.heads, [])

    def test_a_proxy_of_the_configuration_carries_plain_http_too(self):
        with Proxy() as proxy, Upstream(json_answer("ok")) as up, Gateway(project(up), f'proxy = "http://127.0.0.1:{proxy.port}",') as gw:
            self.assertEqual(gw.chat().status, 200)
            self.assertEqual(len(proxy.heads), 1)

    def test_a_proxy_that_refuses_is_a_network_failure(self):
        with Proxy(refuse=407) as proxy, Upstream(tls=serving()) as up, \
                Gateway(provider(up.url, f'ca = "{CERT}", ', f'proxy = "http://127.0.0.1:{proxy.port}"')) as gw:
            answer = gw.chat()
            self.assertEqual((answer.status, gw.trace(answer)["attempts"][0]["class"]), (502, "network"))
            self.assertEqual(up.count, 0)


if __name__ == "__main__":
    main()
