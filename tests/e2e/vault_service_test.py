"""Master keys that a service keeps: transit against HashiCorp Vault's own engine and against a server written from its
documentation, which can also fail; Google Cloud KMS against such a server, since no other is to be had; AWS KMS against moto with signatures checked."""

import importlib.util
import sqlite3
import sys
import urllib.request

from key_service import GoogleKms, Transit
from moongate import *
from vault_test import PROJECT, files_that_hold, is_sanitized, memory_holds, secret, unique


def started(url, key, vault, env):
    gw = Gateway({"main": PROJECT.format(url=url)}, gateway=f"vault = {{ {vault} }}", env=env)
    secret(gw, "set", "--project", "main", "openai", value=key, env=env)
    return gw


class Serving(unittest.TestCase):
    def serves(self, vault, env, service=None):
        """A secret set offline is used by a gateway, which leaves no trace of token or key, and by the next one."""
        key = unique("service")
        with Upstream() as up:
            gw = started(up.url, key, vault, env)
            for _ in range(2):
                gw.lines.clear()
                gw.start()
                self.assertEqual((gw.chat().status, up.next_request().headers["authorization"]), (200, f"Bearer {key}"))
                for value in [key, *env.values()]:
                    if len(value) > 16:
                        held = [] if is_sanitized(gw.process.pid) else memory_holds(gw.process.pid, value.encode())
                        self.assertEqual(held, [])
                        self.assertEqual(files_that_hold(gw.path, value.encode()), [])
                self.assertFalse(os.path.exists(os.path.join(gw.path, "data", "master.key")))
                gw.stop()
            gw.folder.cleanup()


class Services(Serving):
    def test_transit(self):
        with Transit() as service:
            self.serves(f'master = {{ kind = "transit", url = "{service.url}", key_id = "moongate", token = env "VAULT_TOKEN" }}',
                        {"VAULT_TOKEN": service.token})
            self.assertEqual({path for path, _ in service.calls}, {"/v1/transit/encrypt/moongate", "/v1/transit/decrypt/moongate"})

    def test_google_cloud_kms_with_a_token(self):
        with GoogleKms() as service:
            self.serves(f'master = {{ kind = "gcp_kms", url = "{service.url}", key_id = "{service.key}", token = env "GCP_TOKEN" }}',
                        {"GCP_TOKEN": service.token})

    def test_google_cloud_kms_with_the_machines_own_account(self):
        with GoogleKms() as service:
            self.serves(f'master = {{ kind = "gcp_kms", url = "{service.url}", key_id = "{service.key}" }}',
                        {"GCE_METADATA_HOST": service.url[7:]})

    def test_requests_go_on_while_the_service_is_down_and_a_start_says_who_is(self):
        with Transit() as service, Upstream() as up:
            vault = f'master = {{ kind = "transit", url = "{service.url}", key_id = "moongate", token = env "VAULT_TOKEN" }}'
            env = {"VAULT_TOKEN": service.token}
            gw = started(up.url, unique("down"), vault, env)
            self.addCleanup(gw.folder.cleanup)
            gw.start()
            service.down = True
            self.assertEqual(gw.chat().status, 200)
            secret(gw, "rotate", "--project", "main", "openai", value=unique("after"), env=env)   # its data key is there
            self.assertEqual(gw.chat().status, 200)
            gw.stop()
            done = secret(gw, "list", check=False, env=env)
            self.assertIn("transit:moongate refused to unwrap", done.stderr)
            self.assertIn("sealed", done.stderr)

    def test_a_wrapped_key_moved_to_another_project_does_not_open(self):
        with Transit() as service, Upstream() as up:
            env = {"VAULT_TOKEN": service.token}
            text = PROJECT.format(url=up.url)
            gw = Gateway({"main": text, "other": text}, gateway='vault = { master = { kind = "transit", url = "%s", key_id = '
                                                                '"moongate", token = env "VAULT_TOKEN" } }' % service.url, env=env)
            self.addCleanup(gw.folder.cleanup)
            for project in "main", "other":
                secret(gw, "set", "--project", project, "openai", value=unique(project), env=env)
            db = sqlite3.connect(os.path.join(gw.path, "data", "moongate.db"))
            db.execute("UPDATE vault_keys SET wrapped = (SELECT wrapped FROM vault_keys WHERE project = 'main') WHERE project = 'other'")
            db.commit()
            db.close()
            self.assertIn("message authentication failed", secret(gw, "list", check=False, env=env).stderr)

    def test_from_a_file_to_a_service_while_requests_go_on(self):
        with Transit() as service, Upstream() as up:
            env = {"VAULT_TOKEN": service.token}
            gw = Gateway({"main": PROJECT.format(url=up.url)}, env=env)
            secret(gw, "set", "--project", "main", "openai", value=unique("moved"))
            with gw:
                with open(os.path.join(gw.path, "gateway.lua")) as file:
                    text = file.read()
                gw.write("gateway.lua", text.replace("return {", f'return {{ vault = {{ master = {{ kind = "transit", url = "{service.url}", '
                                                                 'key_id = "moongate", token = env "VAULT_TOKEN" } },'))
                done = subprocess.run([BIN, "vault", "rewrap", "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S,
                                      env=clean_env(**env))
                self.assertIn("all are wrapped by transit:moongate", done.stdout, done.stderr)
                self.assertEqual(gw.chat().status, 200)
                os.unlink(os.path.join(gw.path, "data", "master.key"))
                gw.stop()
                gw.lines.clear()
                gw.start()
                self.assertEqual(gw.chat().status, 200)


TRANSITD = os.path.join(os.environ["MOONGATE_SOURCE_DIR"], "build", "transitd")


@unittest.skipUnless(os.access(TRANSITD, os.X_OK), "./dev test builds Vault's transit engine where there is Go")
class VaultItself(Serving):
    """The transit engine of HashiCorp Vault, its own code (tests/support/transit)."""

    def engine(self):
        token = "hvs." + os.urandom(16).hex()
        process = subprocess.Popen([TRANSITD, token, "moongate"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)               # first: it ends with it
        return f"http://127.0.0.1:{int(process.stdout.readline())}", token

    def vault(self, url, key="moongate"):
        return f'master = {{ kind = "transit", url = "{url}", key_id = "{key}", token = env "VAULT_TOKEN" }}'

    def test_keys_are_wrapped_and_unwrapped(self):
        url, token = self.engine()
        self.serves(self.vault(url), {"VAULT_TOKEN": token})

    def test_a_wrapped_key_is_bound_to_its_project(self):
        url, token = self.engine()
        env = {"VAULT_TOKEN": token}
        with Upstream() as up:
            text = PROJECT.format(url=up.url)
            gw = Gateway({"main": text, "other": text}, gateway=f"vault = {{ {self.vault(url)} }}", env=env)
            self.addCleanup(gw.folder.cleanup)
            for project in "main", "other":
                secret(gw, "set", "--project", project, "openai", value=unique(project), env=env)
            db = sqlite3.connect(os.path.join(gw.path, "data", "moongate.db"))
            wrapped, = db.execute("SELECT wrapped FROM vault_keys WHERE project = 'main'").fetchone()
            self.assertTrue(wrapped.startswith(b"vault:v1:"), wrapped)
            db.execute("UPDATE vault_keys SET wrapped = ? WHERE project = 'other'", (wrapped,))
            db.commit()
            db.close()
            self.assertRegex(secret(gw, "list", check=False, env=env).stderr, "refused to unwrap the key of project 'other'.*message authentication failed")

    def test_what_it_refuses_is_told_in_its_words(self):
        url, token = self.engine()
        gw = Gateway({"main": PROJECT.format(url="http://127.0.0.1:1/v1")}, gateway=f'vault = {{ {self.vault(url)} }}')
        self.addCleanup(gw.folder.cleanup)
        done = secret(gw, "set", "--project", "main", "x", value=unique("x"), check=False, env={"VAULT_TOKEN": "hvs.wrong"})
        self.assertRegex(done.stderr, r"refused to wrap .*status 403.*permission denied")

    def test_what_was_wrapped_opens_after_the_engines_own_key_was_rotated(self):
        url, token = self.engine()
        env = {"VAULT_TOKEN": token}
        with Upstream() as up:
            gw = started(up.url, unique("before"), self.vault(url), env)
            request = urllib.request.Request(f"{url}/v1/transit/keys/moongate/rotate", method="POST", data=b"{}", headers={"X-Vault-Token": token})
            urllib.request.urlopen(request, timeout=PATIENCE_S).close()
            secret(gw, "set", "--project", "later", "x", value=unique("after"), env=env)
            db = sqlite3.connect(os.path.join(gw.path, "data", "moongate.db"))
            versions = dict(db.execute("SELECT project, substr(wrapped, 1, 9) FROM vault_keys"))
            db.close()
            self.assertEqual((versions["main"], versions["later"]), (b"vault:v1:", b"vault:v2:"))
            with gw:
                self.assertEqual(gw.chat().status, 200)


@unittest.skipUnless(importlib.util.find_spec("moto"), "moto is not installed")
class Aws(Serving):
    """moto checks signatures once so many actions were let through without."""

    def start_moto(self):
        import boto3

        port = free_port()
        self.moto = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL, env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "5"})
        self.addCleanup(self.moto.wait)
        self.addCleanup(self.moto.kill)
        wait_for_port(port)
        url = f"http://127.0.0.1:{port}"
        options = dict(endpoint_url=url, region_name="eu-central-1", aws_access_key_id="first", aws_secret_access_key="first")
        iam, kms = boto3.client("iam", **options), boto3.client("kms", **options)
        iam.create_user(UserName="moongate")
        access = iam.create_access_key(UserName="moongate")["AccessKey"]
        iam.put_user_policy(UserName="moongate", PolicyName="kms", PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}))
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/moongate", TargetKeyId=key)
        return url, key, access["AccessKeyId"], access["SecretAccessKey"]

    def vault(self, url, key):
        return (f'master = {{ kind = "aws_kms", url = "{url}", region = "eu-central-1", key_id = "{key}", '
                'access_key = env "TEST_AWS_ID", secret_key = env "TEST_AWS_SECRET" }')

    def test_aws_kms(self):
        url, key, id, access = self.start_moto()
        self.serves(self.vault(url, key), {"TEST_AWS_ID": id, "TEST_AWS_SECRET": access})

    def test_a_wrong_signature_is_refused_and_told(self):
        url, key, id, access = self.start_moto()
        with Upstream() as up:
            gw = Gateway({"main": PROJECT.format(url=up.url)}, gateway=f"vault = {{ {self.vault(url, key)} }}")
            self.addCleanup(gw.folder.cleanup)
            done = secret(gw, "set", "--project", "main", "openai", value=unique("x"), check=False,
                          env={"TEST_AWS_ID": id, "TEST_AWS_SECRET": access[:-1] + ("y" if access.endswith("x") else "x")})
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"refused to wrap .*status 403")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main()
