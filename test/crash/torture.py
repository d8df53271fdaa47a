#!/usr/bin/env python3
"""kill -9 under load, again and again: nothing acknowledged is lost, doubled or damaged; UIDs never go back; fsck finds nothing.

    test/crash/torture.py [--rounds 50] [--seconds 2] [--seed N] [--engine rocksdb]

Each round starts the server on the same directory, loads it from several clients at once (SMTP, APPEND, STORE, EXPUNGE, COPY, relay to a sink),
kills all its processes at a random moment, starts it again and compares what it holds with what it had acknowledged. A request that was under
way when the server died may have happened or not, but only wholly. A relayed message may come twice only where the kill fell between the sink's
250 and our note of it (RFC 5321 6.1 makes that unavoidable): these are counted and bounded.
"""
import argparse
import contextlib
import hashlib
import imaplib
import json
import pathlib
import random
import re
import smtplib
import socketserver
import sys
import tempfile
import threading
import time
import shutil
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from postrider import CAROLYN, ELINOR, Demo  # noqa: E402

DROPPED = (OSError, smtplib.SMTPException, imaplib.IMAP4.error, imaplib.IMAP4.abort, EOFError, AttributeError)


def body(word, size):
    """A message whose every byte follows from its word."""
    line = hashlib.sha256(word.encode()).hexdigest()
    text = f"From: {ELINOR}\r\nTo: {CAROLYN}\r\nSubject: {word}\r\n\r\n" + (line + "\r\n") * (size // 66 + 1)
    return text.encode()


class Sink(socketserver.ThreadingTCPServer):
    """A small SMTP server that outlives the kills and counts what arrives, by subject."""
    allow_reuse_address, daemon_threads = True, True

    def __init__(self):
        self.arrived, self.lock = {}, threading.Lock()
        super().__init__(("127.0.0.1", 0), SinkSession)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class SinkSession(socketserver.StreamRequestHandler):
    def handle(self):
        def say(text):
            self.wfile.write(text.encode() + b"\r\n")
        with contextlib.suppress(OSError):
            say("220 sink ESMTP")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                if verb == b"EHLO":
                    say("250-sink\r\n250-PIPELINING\r\n250 8BITMIME")
                elif verb == b"DATA":
                    say("354 go")
                    data = b""
                    while (row := self.rfile.readline()) not in (b".\r\n", b""):
                        data += row
                    if row:
                        word = re.search(rb"^Subject: (\S+)", data, re.M).group(1).decode()
                        with self.server.lock:
                            self.server.arrived.setdefault(word, []).append(hashlib.sha256(data.split(b"\r\n\r\n", 1)[1]).hexdigest())
                        say("250 taken")
                elif verb == b"QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 ok")


class Truth:
    """What was acknowledged, and what was under way."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acked = {}        # mailbox -> {word: size}
        self.maybe = {}        # mailbox -> {word: size} asked for, no answer
        self.flags = {}        # word -> list of flag sets that it may have (the last acknowledged, then those under way)
        self.gone, self.maybe_gone = set(), set()
        self.relayed, self.maybe_relayed = set(), set()
        self.uids = {}         # mailbox -> {uid: word} as ever seen
        self.uidvalidity, self.uidnext = {}, {}


class Load:
    """The clients of one round."""

    def __init__(self, demo, truth, rng):
        self.demo, self.truth, self.rng, self.stop = demo, truth, rng, threading.Event()
        self.done = 0

    def note(self, table, mailbox, word, size):
        with self.truth.lock:
            table.setdefault(mailbox, {})[word] = size

    def settle(self, mailbox, word, size):
        with self.truth.lock:
            self.truth.maybe[mailbox].pop(word)
            self.truth.acked.setdefault(mailbox, {})[word] = size
            self.done += 1

    def deliver(self, rng):
        with self.demo.smtp() as s:
            while not self.stop.is_set():
                word, size = uuid.uuid4().hex, rng.choice((300, 3000, 8000, 60000, 400000))
                self.note(self.truth.maybe, "INBOX", word, size)
                s.sendmail(ELINOR, [CAROLYN], body(word, size))
                self.settle("INBOX", word, size)

    def relay(self, rng):
        with self.demo.smtp() as s:
            while not self.stop.is_set():
                word, size = uuid.uuid4().hex, rng.choice((300, 8000))
                with self.truth.lock:
                    self.truth.maybe_relayed.add(word)
                s.sendmail(ELINOR, ["far@remote.test"], body(word, size))
                with self.truth.lock:
                    self.truth.maybe_relayed.discard(word)
                    self.truth.relayed.add(word)
                    self.done += 1

    def append(self, rng):
        with self.demo.imap() as c:
            while not self.stop.is_set():
                word, size = uuid.uuid4().hex, rng.choice((300, 8000, 100000))
                self.note(self.truth.maybe, "Appended", word, size)
                status, _ = c.append("Appended", None, None, body(word, size))
                if status != "OK":
                    return
                self.settle("Appended", word, size)

    def store(self, rng):
        with self.demo.imap() as c:
            c.select("Flags")
            words = self.subjects(c)
            while not self.stop.is_set():
                uid, word = rng.choice(sorted(words.items()))
                flags = frozenset(rng.sample(["\\Seen", "\\Flagged", "\\Answered", "$A", "$B"], rng.randrange(5)))
                with self.truth.lock:
                    self.truth.flags.setdefault(word, [frozenset()]).append(flags)
                status, _ = c.uid("store", str(uid), "FLAGS.SILENT", f"({' '.join(sorted(flags))})")
                if status != "OK":
                    return
                with self.truth.lock:
                    self.truth.flags[word] = [flags]
                    self.done += 1

    def expunge(self, rng):
        with self.demo.imap() as c:
            c.select("Gone")
            while not self.stop.is_set():
                word = uuid.uuid4().hex
                self.note(self.truth.maybe, "Gone", word, 300)
                c.append("Gone", None, None, body(word, 300))
                self.settle("Gone", word, 300)
                _, found = c.uid("search", None, "SUBJECT", word)
                with self.truth.lock:
                    self.truth.maybe_gone.add(word)
                c.uid("store", found[0].decode(), "+FLAGS.SILENT", r"(\Deleted)")
                status, _ = c.uid("expunge", found[0].decode())
                if status != "OK":
                    return
                with self.truth.lock:
                    self.truth.maybe_gone.discard(word)
                    self.truth.gone.add(word)
                    self.done += 1

    @staticmethod
    def subjects(c):
        words = {}
        _, data = c.uid("fetch", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        for item in data:
            if isinstance(item, tuple):
                uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
                words[uid] = item[1].decode().split(":", 1)[1].strip()
        return words

    def guarded(self, work, seed):
        rng = random.Random(seed)
        while not self.stop.is_set():
            try:
                work(rng)
            except DROPPED:
                if not self.stop.is_set():
                    time.sleep(0.02)

    def run(self, seconds):
        jobs = [self.deliver, self.deliver, self.deliver, self.relay, self.append, self.append, self.store, self.expunge]
        threads = [threading.Thread(target=self.guarded, args=(job, self.rng.random()), daemon=True) for job in jobs]
        for t in threads:
            t.start()
        time.sleep(seconds)
        self.demo.kill()
        self.stop.set()
        for t in threads:
            t.join(20)


class Check:
    """Compares what the server holds after its restart with the truth."""

    def __init__(self, demo, truth):
        self.demo, self.truth, self.errors = demo, truth, []

    def wrong(self, text):
        self.errors.append(text)
        print("WRONG:", text, flush=True)

    def mailbox(self, name):
        truth, seen = self.truth, {}
        with self.demo.imap() as c:
            c.select(name, readonly=True)
            validity, uidnext = (int(c.response(k)[1][0]) for k in ("UIDVALIDITY", "UIDNEXT"))
            if truth.uidvalidity.setdefault(name, validity) != validity:
                self.wrong(f"{name}: UIDVALIDITY changed")
            if uidnext < truth.uidnext.get(name, 0):
                self.wrong(f"{name}: UIDNEXT went back from {truth.uidnext[name]} to {uidnext}")
            truth.uidnext[name] = uidnext
            known = truth.uids.setdefault(name, {})
            fresh = []
            for uid, word in Load.subjects(c).items():
                if word in seen:
                    self.wrong(f"{name}: {word} is doubled (UIDs {seen[word]} and {uid})")
                if known.get(uid, word) != word:
                    self.wrong(f"{name}: UID {uid} was {known[uid]} and is {word} now")
                if uid not in known:
                    fresh.append(uid)
                known[uid], seen[word] = word, uid
            self.bytes(c, name, fresh)
            if name == "Flags":
                self.flags(c)
        acked, maybe = truth.acked.get(name, {}), truth.maybe.get(name, {})
        if name == "Gone":
            acked = {w: s for w, s in acked.items() if w not in truth.gone and w not in truth.maybe_gone}
            for word in truth.gone & set(seen):
                self.wrong(f"Gone: {word} came back after its EXPUNGE was acknowledged")
        for word in set(acked) - set(seen):
            self.wrong(f"{name}: {word} was acknowledged and is lost")
        allowed = set(truth.acked.get(name, {})) | set(maybe)
        for word in set(seen) - allowed:
            self.wrong(f"{name}: {word} was never sent")
        for word in list(maybe):  # now it is known which way it went
            size = maybe.pop(word)
            if word in seen:
                truth.acked.setdefault(name, {})[word] = size
        for word in list(truth.maybe_gone) if name == "Gone" else []:
            truth.maybe_gone.discard(word)
            if word not in seen:
                truth.gone.add(word)

    def bytes(self, c, name, uids):
        sizes = {**self.truth.acked.get(name, {}), **self.truth.maybe.get(name, {})}
        for uid in uids:
            _, data = c.uid("fetch", str(uid), "(BODY.PEEK[])")
            word = self.truth.uids[name][uid]
            if word in sizes and not data[0][1].endswith(body(word, sizes[word])):
                self.wrong(f"{name}: {word} (UID {uid}) is damaged")

    def flags(self, c):
        _, data = c.uid("fetch", "1:*", "(UID FLAGS)")
        for row in data:
            uid = int(re.search(rb"UID (\d+)", row).group(1))
            flags = frozenset(re.search(rb"FLAGS \(([^)]*)\)", row).group(1).decode().split()) - {"\\Recent"}
            word = self.truth.uids["Flags"][uid]
            allowed = self.truth.flags.get(word, [frozenset()])
            if flags not in allowed:
                self.wrong(f"Flags: UID {uid} has {sorted(flags)}, acknowledged was one of {[sorted(f) for f in allowed]}")
            self.truth.flags[word] = [flags]

    def fsck(self):
        done = self.demo.command("fsck", "--json", check=False)
        try:
            result = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            return self.wrong(f"fsck: {done.returncode} {done.stdout} {done.stderr}")
        if result["findings"] or done.returncode:
            self.wrong(f"fsck: {done.stdout}")
        return None

    def all(self):
        for name in ("INBOX", "Appended", "Flags", "Gone"):
            self.mailbox(name)
        self.fsck()
        return self.errors


def prepare(demo, truth):
    with demo.imap() as c:
        for name in ("Appended", "Flags", "Gone"):
            c.create(name)
        for _ in range(60):
            word = uuid.uuid4().hex
            c.append("Flags", None, None, body(word, 300))
            truth.acked.setdefault("Flags", {})[word] = 300


def check_relay(sink, truth, kills, per_kill=8, seconds=60):
    errors, end = [], time.monotonic() + seconds
    while time.monotonic() < end and truth.relayed - set(sink.arrived):
        time.sleep(0.2)
    lost = truth.relayed - set(sink.arrived)
    doubled = [w for w, hashes in sink.arrived.items() if len(hashes) > 1]
    errors += [f"relay: {word} was acknowledged and did not arrive" for word in sorted(lost)]
    errors += [f"relay: {word} arrived with different bytes" for word in doubled if len(set(sink.arrived[word])) > 1]
    if len(doubled) > kills * per_kill:
        errors.append(f"relay: {len(doubled)} messages came twice, more than the connections that {kills} kills could cut")
    for text in errors:
        print("WRONG:", text)
    return errors, len(doubled)


def torture(rounds, seconds, seed, engine="rocksdb"):
    """Returns (errors, figures)."""
    rng, truth, sink = random.Random(seed), Truth(), Sink()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="postrider-crash-"))
    demo = Demo("--engine", engine, "--relay", f"127.0.0.1:{sink.server_address[1]}", directory=directory / "data")
    demo.directory.mkdir()
    errors, acknowledged = [], 0
    try:
        demo.start()
        prepare(demo, truth)
        for number in range(1, rounds + 1):
            load = Load(demo, truth, rng)
            load.run(seconds * rng.uniform(0.3, 1.7))
            acknowledged += load.done
            demo.start()
            errors += Check(demo, truth).all()
            print(f"round {number}: {load.done} acknowledged and killed; {len(errors)} errors so far", flush=True)
        relay_errors, doubled = check_relay(sink, truth, rounds)
        errors += relay_errors
        demo.stop()
    finally:
        demo.kill()
        sink.shutdown()
        demo.log.close()
        if not errors:
            shutil.rmtree(directory, ignore_errors=True)
    return errors, {"rounds": rounds, "acknowledged": acknowledged, "relayed": len(truth.relayed), "relay_twice": doubled, "seed": seed}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--seconds", type=float, default=2)
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    options.add_argument("--engine", default="rocksdb")
    given = options.parse_args()
    errors, figures = torture(given.rounds, given.seconds, given.seed, given.engine)
    print(json.dumps(figures))
    print(f"{len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
