"""A store that cannot be written stops no request, loses nothing, says what is wrong, and is taken up again without a restart."""

import os
import resource
import shutil
import sqlite3
import subprocess
import time
import unittest

from durability_test import kill, rows, settled
from moongate import *

NOBODYS_CAPS = ["setpriv", "--bounding-set=-all"]  # root without the right to write where modes forbid it


class StoreGateway(Gateway):
    def __init__(self, up, **more):
        super().__init__(project(up), "workers = 1,", **more)

    def data(self, *names):
        return os.path.join(self.path, "data", *names)

    def admin(self, path):
        port = int(re.search(r"address=\S+:(\d+)", self.wait_line(r" admin address=")).group(1))
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            return read_response(sock.makefile("rb"))

    def ask(self, times):
        answers = [self.chat() for _ in range(times)]
        return [answer.headers["x-request-id"] for answer in answers if answer.status == 200]

    def wait_ready_says(self, pattern):
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, said := self.admin("/readyz").body.decode()):
            if time.monotonic() > deadline:
                raise AssertionError(f"/readyz says {said!r}, not {pattern!r}")
            time.sleep(0.02)


class Store(unittest.TestCase):
    def setUp(self):
        self.up = self.enterContext(Upstream(json_answer("ok")))

    def check_trouble(self, gw, pattern):
        """Requests are answered, and the log, the metrics, /readyz and the CLI say what is wrong. The ids served."""
        served = gw.ask(20)
        self.assertEqual(len(served), 20)
        gw.wait_ready_says(r"^ready\ndegraded: the store cannot be written for \d+ s: .*" + pattern)
        self.assertEqual(gw.admin("/readyz").status, 200)
        gw.wait_line(r" error store\.failed .*" + pattern)
        self.assertIn("\nmoongate_store_degraded 1\n", gw.admin("/metrics").body.decode())
        self.assertNotEqual(gw.cli("key", "create", "--project", "main", "--name", "late", check=False).returncode, 0)
        return served + gw.ask(5)

    def check_well(self, gw, served):
        gw.wait_line(r" info store\.recovered after_ms=\d+")
        gw.wait_ready_says(r"^ready\n$")
        self.assertIn("\nmoongate_store_degraded 0\n", gw.admin("/metrics").body.decode())
        served = served + gw.ask(1)
        ids = [row["id"] for row in settled(gw, len(served))]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(set(served) - set(ids), set())
        gw.cli("key", "create", "--project", "main", "--name", "later")
        gw.stop()
        gw.lines = []
        gw.start()
        self.assertEqual([row["id"] for row in rows(gw)], ids)


class Full(Store):
    def test_a_file_that_may_not_grow(self):
        with StoreGateway(self.up) as gw:
            served = gw.ask(3)
            settled(gw, 3)
            before = resource.prlimit(gw.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

            served += self.check_trouble(gw, "")
            resource.prlimit(gw.process.pid, resource.RLIMIT_FSIZE, before)
            self.check_well(gw, served)

    def test_a_gateway_killed_on_a_full_disk_loses_nothing(self):
        with StoreGateway(self.up) as gw:
            settled(gw, len(served := gw.ask(3)))
            resource.prlimit(gw.process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            served += self.check_trouble(gw, "")
            kill(gw)
            gw.start()
            self.assertCountEqual([row["id"] for row in rows(gw)], served)

    def test_a_file_system_without_room(self):
        gw = StoreGateway(self.up)
        os.mkdir(gw.data())
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", gw.data()], capture_output=True).returncode != 0:
            self.skipTest("may not mount a small file system here")
        try:
            gw.folder.cleanup, cleanup = lambda: None, gw.folder.cleanup    # not while it is mounted
            with gw:
                served = gw.ask(3)
                settled(gw, 3)
                with open(gw.data("ballast"), "wb", buffering=0) as ballast:
                    with self.assertRaises(OSError):
                        while ballast.write(bytes(4096)):
                            pass
                served += self.check_trouble(gw, "full")
                os.remove(gw.data("ballast"))
                self.check_well(gw, served)
        finally:
            subprocess.run(["umount", "-l", gw.data()], check=True)
            cleanup()


class Locked(Store):
    def test_a_lock_that_another_process_holds_for_long(self):
        with StoreGateway(self.up) as gw:
            served = gw.ask(3)
            settled(gw, 3)
            other = sqlite3.connect(gw.data("moongate.db"), isolation_level=None)
            self.addCleanup(other.close)
            other.execute("BEGIN IMMEDIATE")

            served += self.check_trouble(gw, "locked")
            began, seen = time.monotonic(), len(gw.lines)
            gw.request("GET", "/v1/models", headers={"authorization": "Bearer mg_nobody"}, key=False)
            gw.wait_line(" authenticate.refused ", after=seen)
            self.assertLess(time.monotonic() - began, 3)       # the log does not stand still with the store
            other.execute("ROLLBACK")
            self.check_well(gw, served)


class Damaged(Store):
    def backup(self, gw):
        with sqlite3.connect(gw.data("moongate.db")) as store, sqlite3.connect(gw.data("backup.db")) as copy:
            store.backup(copy)
        store.close()
        copy.close()

    def put_backup(self, gw):
        for name in ("moongate.db-wal", "moongate.db-shm"):
            if os.path.exists(gw.data(name)):
                os.remove(gw.data(name))
        os.rename(gw.data("backup.db"), gw.data("moongate.db"))

    def overwrite(self, gw):
        for name in ("moongate.db", "moongate.db-wal"):
            with open(gw.data(name), "r+b") as file:
                file.write(os.urandom(os.path.getsize(gw.data(name))))

    def test_an_overwritten_file_and_a_backup_put_in_its_place(self):
        with StoreGateway(self.up) as gw:
            served = gw.ask(3)
            settled(gw, 3)
            self.backup(gw)
            self.overwrite(gw)

            served += self.check_trouble(gw, "not a database|malformed")
            self.put_backup(gw)
            self.check_well(gw, served)

    def test_a_deleted_file_is_missed_and_no_empty_one_takes_its_place(self):
        with StoreGateway(self.up) as gw:
            served = gw.ask(3)
            settled(gw, 3)
            self.backup(gw)
            for name in ("moongate.db", "moongate.db-wal", "moongate.db-shm"):
                os.remove(gw.data(name))

            served += self.check_trouble(gw, "gone")
            self.assertFalse(os.path.exists(gw.data("moongate.db")))
            self.put_backup(gw)
            self.check_well(gw, served)

    def test_while_a_store_stays_away_nobody_asks_for_it_without_a_pause(self):
        def switches(gw):
            """How often its threads have waited for something: one that asks again and again does so thousands of times a second."""
            folder = f"/proc/{gw.process.pid}/task"
            texts = [open(f"{folder}/{task}/status").read() for task in os.listdir(folder)]
            return sum(int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", text)[1]) for text in texts)

        with StoreGateway(self.up) as gw:
            for name in ("moongate.db", "moongate.db-wal", "moongate.db-shm"):
                os.remove(gw.data(name))
            gw.wait_ready_says("degraded")
            time.sleep(1.5)                                    # what is done a second after the start has been tried
            before = switches(gw)
            time.sleep(1)
            self.assertLess(switches(gw) - before, 2000)

    def test_a_replaced_file_is_written_on_and_does_not_get_the_old_ones_log(self):
        with StoreGateway(self.up) as gw:
            served = gw.ask(3)
            settled(gw, 3)
            self.backup(gw)
            os.rename(gw.data("backup.db"), gw.data("moongate.db"))

            served += gw.ask(5)
            gw.wait_line(r" warn store\.lost .*replaced")
            self.assertCountEqual([row["id"] for row in settled(gw, 8)], served)
            self.assertTrue(os.path.exists(gw.data("moongate.db-wal.replaced")))
            gw.stop()
            store = sqlite3.connect(gw.data("moongate.db"))
            self.assertEqual(store.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            store.close()
            gw.lines = []
            gw.start()

    def test_a_store_that_is_none_ends_the_start_with_a_sentence(self):
        with StoreGateway(self.up) as gw:
            served = gw.ask(3)
            settled(gw, 3)
            self.backup(gw)
            kill(gw)
            self.overwrite(gw)

            done = subprocess.run([BIN, "serve", "-c", gw.path], capture_output=True, text=True, cwd=gw.path, env=clean_env(), timeout=PATIENCE_S)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"moongate\.db: (is no store|cannot open the store): file is not a database")
            self.assertIn("not a database", gw.cli("logs", check=False).stderr)
            self.put_backup(gw)
            gw.start()
            self.assertCountEqual([row["id"] for row in rows(gw)], served)


class ReadOnly(Store):
    def modes(self, gw, folder, file):
        for where, _, names in os.walk(gw.data()):
            for name in names:
                os.chmod(os.path.join(where, name), file)
            os.chmod(where, folder)

    def test_a_folder_that_became_read_only_is_told_at_the_next_start_and_nothing_is_lost(self):
        if os.getuid() == 0 and not shutil.which("setpriv"):
            self.skipTest("root without setpriv may write anywhere")
        gw = StoreGateway(self.up)
        gw.prefix = NOBODYS_CAPS if os.getuid() == 0 else []
        with gw:
            served = gw.ask(3)
            settled(gw, 3)
            self.modes(gw, 0o500, 0o400)
            served += gw.ask(20)
            self.assertEqual(len(served), 23)
            self.assertCountEqual([row["id"] for row in settled(gw, 23)], served)   # its files are open
            kill(gw)

            done = subprocess.run([*gw.prefix, BIN, "serve", "-c", gw.path], capture_output=True, text=True, cwd=gw.path, env=clean_env(),
                                  timeout=PATIENCE_S)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"data/\S+: cannot .*: Permission denied")
            self.modes(gw, 0o700, 0o600)
            gw.start()
            self.assertCountEqual([row["id"] for row in rows(gw)], served)


if __name__ == "__main__":
    main()
