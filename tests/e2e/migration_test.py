"""Stores that earlier releases wrote (stores/, made by support/old_store.py): nothing in them is lost, whatever happens on the way."""

import glob
import random
import re
import sqlite3
import subprocess
import time
import unittest

from durability_test import rows
from moongate import *

STORES = os.path.join(os.environ["MOONGATE_SOURCE_DIR"], "tests", "e2e", "stores")
VERSIONS = sorted(int(re.search(r"v(\d+)\.sql$", path).group(1)) for path in glob.glob(f"{STORES}/v*.sql"))


def load(version, path):
    with open(f"{STORES}/v{version}.sql") as sql:
        store = sqlite3.connect(path)
        store.executescript(sql.read())
        store.close()
    if "master_key" in said(version):
        with open(os.path.join(os.path.dirname(path), "master.key"), "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as key:
            key.write(bytes.fromhex(said(version)["master_key"]))


def said(version):
    with open(f"{STORES}/v{version}.json") as file:
        return json.load(file)


def ask(path, sql):
    store = sqlite3.connect(path)
    try:
        return store.execute(sql).fetchall()
    finally:
        store.close()


def schema(path):
    """What a statement may rely on: the columns of each table in no order, and what is unique."""
    tables = [name for name, in ask(path, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
    columns = {table: sorted(column[1:] for column in ask(path, f"PRAGMA table_info({table})")) for table in tables}
    indexes = sorted(ask(path, "SELECT tbl_name, name FROM sqlite_master WHERE type = 'index'"))
    return ask(path, "PRAGMA user_version"), columns, indexes


def first_difference(old, new, where="it"):
    """What an old record said must still be said; new members may stand beside it."""
    if isinstance(old, dict):
        for name, value in old.items():
            if name not in new:
                return f"{where}.{name} is missing"
            if found := first_difference(value, new[name], f"{where}.{name}"):
                return found
    elif isinstance(old, list):
        if len(old) != len(new):
            return f"{where} has {len(new)} items, had {len(old)}"
        for i, (one, other) in enumerate(zip(old, new)):
            if found := first_difference(one, other, f"{where}[{i}]"):
                return found
    elif old != new:
        return f"{where} is {new!r}, was {old!r}"
    return None


class Old(unittest.TestCase):
    def folder(self):
        gw = Gateway(project("http://127.0.0.1:1/v1"), "workers = 1,")
        self.addCleanup(gw.folder.cleanup)
        os.mkdir(os.path.join(gw.path, "data"), 0o700)
        return gw, os.path.join(gw.path, "data", "moongate.db")

    def check_read(self, gw, version):
        """Everything that was in it, and the exchange under way as an interrupted one."""
        old = said(version)
        now = {row["id"]: row for row in rows(gw)}
        for row, trace in zip(old["logs"], old["traces"]):
            self.assertIsNone(first_difference(row, now[row["id"]], f"v{version} logs {row['id']}"))
            self.assertIsNone(first_difference(trace, json.loads(gw.cli("trace", row["id"], "--json")), f"v{version} trace {row['id']}"))
        cut, = set(now) - {row["id"] for row in old["logs"]}
        self.assertTrue(now[cut]["interrupted"])
        self.assertGreater(now[cut]["input_tokens"], 20)

    def fresh_schema(self):
        with Upstream() as up, Gateway(project(up), "workers = 1,") as fresh:
            return schema(os.path.join(fresh.path, "data", "moongate.db"))

    def test_a_store_of_every_released_schema_is_read_whole_and_written_on(self):
        self.assertEqual(VERSIONS[0], 1)
        newest = self.fresh_schema()
        for version in VERSIONS:
            with self.subTest(version), Upstream(json_answer("new")) as up:
                gw, path = self.folder()
                load(version, path)
                gw.write("projects/main.lua", project(up))
                with gw:
                    self.check_read(gw, version)
                    id = gw.chat().headers["x-request-id"]
                    self.assertEqual(gw.trace(id)["status"], 200)
                    self.assertEqual(schema(path), newest)

    def test_the_command_line_alone_brings_it_up_too(self):
        for version in VERSIONS:
            with self.subTest(version):
                gw, path = self.folder()
                load(version, path)
                self.check_read(gw, version)

    def test_a_start_that_is_killed_at_any_moment_leaves_a_store_that_the_next_one_brings_up(self):
        lot = random.Random()
        for _ in range(12):
            version = lot.choice(VERSIONS)
            gw, path = self.folder()
            load(version, path)
            began = subprocess.Popen([BIN, "logs", "--data", os.path.join(gw.path, "data")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(lot.uniform(0, 0.03))
            began.kill()
            began.wait()
            self.assertIn(ask(path, "PRAGMA integrity_check"), [[("ok",)]])
            self.check_read(gw, version)

    def test_a_step_that_was_not_committed_is_made_again(self):
        gw, path = self.folder()
        load(1, path)
        # the first half of step 2, by a process that dies: its pages stand in the log without a commit
        code = ("import os, signal, sqlite3, sys\nstore = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
                "store.execute('PRAGMA journal_mode = WAL'); store.execute('PRAGMA cache_size = 1'); store.execute('BEGIN IMMEDIATE')\n"
                "store.execute('ALTER TABLE exchanges ADD COLUMN waited_us INTEGER NOT NULL DEFAULT 0')\n"
                "store.execute('PRAGMA cache_spill = 1'); store.execute('UPDATE exchanges SET waited_us = 7')\n"
                "os.kill(os.getpid(), signal.SIGKILL)")
        subprocess.run(["python3", "-c", code, path], check=False)
        self.assertEqual(ask(path, "PRAGMA user_version"), [(1,)])
        self.check_read(gw, 1)

    def test_a_store_of_a_newer_moongate_is_refused_with_a_sentence_and_left_as_it_is(self):
        gw, path = self.folder()
        load(VERSIONS[-1], path)
        store = sqlite3.connect(path)
        store.execute("PRAGMA user_version = 4000")
        store.close()
        for done in (subprocess.run([BIN, "serve", "-c", gw.path], capture_output=True, text=True, cwd=gw.path, env=clean_env(), timeout=PATIENCE_S),
                     gw.cli("logs", check=False), gw.cli("key", "list", check=False)):
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stderr, r"moongate\.db: was written by a newer Moongate \(schema 4000, this one knows \d+\)")
        self.assertEqual(ask(path, "PRAGMA user_version"), [(4000,)])


if __name__ == "__main__":
    main()
