#!/usr/bin/env python3
"""Our JSON scanner and serde_json agree about what is valid.

usage: json_oracle_test.py JSON_VERDICT CORPUS BUILD_FOLDER

Both judge the corpus, hand-made border cases and thousands of mutations of them (the same in every run). Skipped
(exit code 77) only when there is no cargo to build the judge with."""
import os
import random
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
GENERATED = 1500
MUTATIONS = 5000
ORACLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "oracle")

BORDERS = [
    "1e308", "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1.797693134862315807e308",
    "1.7976931348623158079372897140530341507993413271003782693617377898044496829276475094664901797758720709633028641669"
    "28879109465555478519404026306574886715058206819089020007083836762738548458177115317644757302700698555713669596228"
    "42914819860834936475292719074168444365510704342711559699508093042880e308", "1e309", "-1e309", "0.0001e311",
    "0.0001e312", "0.0001e313", "1" + "0" * 308, "1" + "0" * 309, "9" * 308, "9" * 309, "9" * 310, "0e99999999999",
    "1e-99999999999", "1e99999999999", "-0", "-0.0", "00", "01", "1.", ".1", "1e", "1e+", "0." + "0" * 400 + "1e400",
    "0." + "0" * 400 + "1e710", "5e-324", "2e-324", "1" + "0" * 5000 + "e-5000", "18446744073709551616",
    '"\\ud800"', '"\\udc00"', '"\\ud800\\udc00"', '"\\ud800\\ud800"', '"\\uD83D\\uDE00"', '"\\u0000"', '"\\u00zz"', '"\\x"',
    '"\x7f"', '"\t"', '"\n"', '""', '"', "", " ", "\ufeff{}", "nul", "nulll", "truefalse", "[]]", "[[]", "{}{}", "{} ",
    "{\"a\":1,}", "[1,]", "[,]", "{,}", "{\"a\"}", "{\"a\":}", "{a:1}", "{1:1}", "{'a':1}", "//\n1", "\x0b1", "\u00a01",
    '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"x":{"a":1,"a":2}}', '{"\\ud83d\\ude00":1,"😀":2}', '{"":1,"":2}',
    "[" * 127 + "]" * 127, "[" * 128 + "]" * 128, "[" * 129 + "]" * 129, '{"a":' * 128 + "1" + "}" * 128,
    '{"a":' * 129 + "1" + "}" * 129, "[" * 200 + "1" + "]" * 200, "[1 2]", "[1\r\n,\t2 ]", '["a" "b"]', '{"a":1 "b":2}',
]
RAW_BORDERS = [b'"\x80"', b'"\xc0\xaf"', b'"\xc2"', b'"\xc2\x80"', b'"\xe0\x80\x80"', b'"\xe0\xa0\x80"', b'"\xed\x9f\xbf"', b'"\xed\xa0\x80"',
               b'"\xef\xbf\xbf"', b'"\xf0\x80\x80\x80"', b'"\xf0\x90\x80\x80"', b'"\xf4\x8f\xbf\xbf"', b'"\xf4\x90\x80\x80"', b'"\xf8\x88\x80\x80\x80"',
               b'"\xff"', b'{"\xff":1}', b"\xff", b"{}\x00", b"\x00", b'"a\x00"', b"\xfe\xff\x00{\x00}"]
TOKENS = [b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"\\u", b"\\ud800", b"\\udc00", b"\\u0061", b"e", b"E", b"+", b"-", b".", b"0", b"1",
          b"9" * 20, b"1e309", b"1e308", b"true", b"false", b"null", b" ", b"\n", b"\t", b"\x00", b"\x1f", b"\x7f", b"\x80", b"\xc3\xa9",
          b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b'"a":1', b',"model":1', b"[" * 60, b'{"a":' * 60]


NUMBERS = ["0", "-0", "1", "-12", "0.5", "1e5", "-1.25E-3", "1e+10", "123456789012345678901", "1e308", "1e-400", "0.1e1", "9" * 310, "1e309", "01", "1."]
PIECES = ["a", "é", "€", "😀", "\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\uD834\\uDD1E", "\\u0000", "\x7f", "long text without anything special in it",
          "\\ud800", "\\udfff", "\\x", "\t"]
BLANKS = ["", "", "", " ", "\n", "\r\n\t  "]


def generate(rng, depth=0):
    """A document, valid more often than not; what makes it invalid stands at the end of the lists."""
    def pick(choices, last):
        return rng.choice(choices[-last:] if rng.random() < 0.02 else choices[:-last])

    def string():
        return '"' + "".join(pick(PIECES, 4) for _ in range(rng.randrange(5))) + '"'

    kind = rng.randrange(8 if depth < 6 else 5)
    blank = rng.choice(BLANKS)
    if kind == 0:
        return rng.choice(["true", "false", "null"])
    if kind in (1, 2):
        return blank + pick(NUMBERS, 4)
    if kind in (3, 4):
        return string() + blank
    items = [generate(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 3, 9)))]
    if kind == 5:
        return "[" + blank + ("," + blank).join(items) + "]"
    return blank + "{" + ",".join(string() + blank + ":" + item for item in items) + blank + "}"


def mutate(rng, seed, others):
    doc = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(doc) + 1)
        kind = rng.randrange(7)
        if kind == 0 and doc:
            doc[min(at, len(doc) - 1)] = rng.randrange(256)
        elif kind == 1:
            doc[at:at] = rng.choice(TOKENS)
        elif kind == 2:
            del doc[at:at + rng.choice((1, 1, 2, 5, 20))]
        elif kind == 3:
            doc[at:at + rng.choice((1, 2, 6))] = rng.choice(TOKENS)
        elif kind == 4:
            end = min(len(doc), at + rng.randrange(1, 30))
            doc[at:at] = doc[at:end]
        elif kind == 5 and doc:
            doc[min(at, len(doc) - 1)] ^= 1 << rng.randrange(8)
        else:
            other = rng.choice(others)
            begin = rng.randrange(len(other) + 1)
            doc[at:at] = other[begin:begin + rng.randrange(1, 30)]
    return bytes(doc)


def write_documents(folder, corpus):
    rng = random.Random(3)
    seeds = [open(os.path.join(corpus, name), "rb").read() for name in sorted(os.listdir(corpus))]
    seeds += [text.encode() for text in BORDERS] + RAW_BORDERS
    seeds += [generate(rng).encode() for _ in range(GENERATED)]
    documents = seeds + [mutate(rng, rng.choice(seeds), seeds) for _ in range(MUTATIONS)]
    for number, document in enumerate(documents):
        with open(os.path.join(folder, f"{number:05}"), "wb") as file:
            file.write(document)
    return documents


def build_oracle(target):
    environment = dict(os.environ, CARGO_TARGET_DIR=target)
    command = ["cargo", "build", "--release", "--quiet"]
    if subprocess.run(command + ["--offline"], cwd=ORACLE, env=environment, stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run(command, cwd=ORACLE, env=environment, check=True)
    return os.path.join(target, "release", "json-oracle")


def verdicts(program, folder):
    out = subprocess.run([program, folder], check=True, capture_output=True, text=True).stdout
    return [line.split(" ", 1)[0] for line in out.splitlines()]


def main(json_verdict, corpus, build):
    if not shutil.which("cargo"):
        print("skipped: cargo is not installed")
        return SKIPPED
    oracle = build_oracle(os.path.join(build, "json-oracle"))
    with tempfile.TemporaryDirectory() as folder:
        documents = write_documents(folder, corpus)
        ours, theirs = verdicts(json_verdict, folder), verdicts(oracle, folder)
    assert len(ours) == len(theirs) == len(documents), "a document was not judged"

    differing = [i for i in range(len(documents)) if ours[i] != theirs[i]]
    for i in differing[:20]:
        print(f"ours: {ours[i]}, serde_json: {theirs[i]}: {documents[i]!r}")
    print(f"{len(documents)} documents, {theirs.count('valid')} of them valid, {len(differing)} judged differently")
    return 1 if differing or min(theirs.count("valid"), theirs.count("invalid")) < 1000 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
