#!/usr/bin/env python3
"""Imports a Maildir and an mbox of N messages into a running server and times SELECT, FETCH 1:* (FLAGS), STATUS and SEARCH on the result; prints
one line of JSON with the seconds, and the server's peak memory before and after.

    test/scale/import.py [--count 50000]
"""
import argparse
import json
import mailbox
import pathlib
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from postrider import CAROLYN, ELINOR, Demo  # noqa: E402

WORDS = ("meeting invoice garden river report question answer holiday train ticket window paper letter picture music "
         "kitchen doctor school travel summer winter project budget server backup weekend").split()


def make(number, rng):
    size = int(min(rng.lognormvariate(8.6, 1.0), 400000))
    lines = []
    while sum(map(len, lines)) < size:
        lines.append(" ".join(rng.choices(WORDS, k=11)) + "\n")
    return (f"From: Person {number % 997} <p{number % 997}@example.org>\nTo: {CAROLYN}\nSubject: {rng.choice(WORDS)} {number}\n"
            f"Date: Mon, 23 Nov 2026 05:00:00 +0000\nMessage-ID: <{number}.{rng.random()}@example.org>\n"
            f"Received: from a.example by b.example; Mon, 23 Nov 2026 05:00:00 +0000\nMIME-Version: 1.0\nContent-Type: text/plain\n\n"
            + "".join(lines))


def make_maildir(path, count, rng):
    box = mailbox.Maildir(path, create=True)
    for sub in ("cur", "new", "tmp"):
        (path / sub).mkdir(exist_ok=True)
    del box
    for n in range(count):
        flags = "".join(f for f in "FRS" if rng.random() < 0.3)
        (path / "cur" / f"{1700000000 + n}.{n}.host:2,{flags}").write_text(make(n, rng))


def make_mbox(path, count, rng):
    with open(path, "w") as f:
        for n in range(count):
            f.write("From someone@example.org Mon Nov 23 05:00:00 2026\n" + make(n, rng) + "\n")


def peak_kb(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1])
    return total


def timed(result, name, work):
    began = time.monotonic()
    value = work()
    result[name] = round(time.monotonic() - began, 3)
    return value


def measure(count):
    rng, result = random.Random(1), {"count": count}
    folder = pathlib.Path(tempfile.mkdtemp(prefix="postrider-import-"))
    try:
        make_maildir(folder / "maildir", count, rng)
        make_mbox(folder / "mbox", count, rng)
        with Demo() as demo:
            result["peak_kb_before"] = peak_kb(demo.pids())
            timed(result, "import_maildir_s", lambda: demo.command("mailbox", "import", CAROLYN, str(folder / "maildir"), timeout=600))
            timed(result, "import_mbox_s", lambda: demo.command("mailbox", "import", ELINOR, str(folder / "mbox"), "--mailbox", "INBOX", timeout=600))
            for user in (CAROLYN, ELINOR):
                tag = user.split("@")[0]
                with demo.imap(user) as c:
                    c.sock.settimeout(600)
                    exists = timed(result, f"{tag}_select_s", lambda: c.select("INBOX"))[1][0]
                    assert int(exists) == count, f"{user} has {exists} messages, expected {count}"
                    rows = timed(result, f"{tag}_fetch_flags_s", lambda: c.fetch("1:*", "(FLAGS)"))[1]
                    assert len(rows) == count, len(rows)
                    timed(result, f"{tag}_status_s", lambda: c.status("INBOX", "(MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ SIZE)"))
                    timed(result, f"{tag}_search_unseen_s", lambda: c.search(None, "UNSEEN"))
                    found = timed(result, f"{tag}_search_subject_s", lambda: c.search(None, "SUBJECT", "ticket"))[1][0].split()
                    assert 0 < len(found) < count // 4, len(found)
                    timed(result, f"{tag}_search_text_s", lambda: c.search(None, "TEXT", '"no such word here"'))
            result["peak_kb_after"] = peak_kb(demo.pids())
            assert json.loads(demo.command("fsck", "--json").stdout.splitlines()[-1])["findings"] == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=50000)
    print(json.dumps(measure(options.parse_args().count)))


if __name__ == "__main__":
    main()
