"""The workloads of `bench/compare`, one function each: it gets a running server and returns the figure of one round. ROWS says what the figure is,
which way is better, and the goal as a ratio to the better peer."""
import contextlib
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile
import time

from client import Imap, Pop3
from servers import DOMAIN, PASSWORD, ROOT, wait_port

BUILD = pathlib.Path(os.environ.get("POSTRIDER", ROOT / "build/postrider")).parent
ACCOUNTS = 20
FIELDS = "BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]"


class Wrong(Exception):
    """A message is lost, doubled or damaged, or was not taken."""


def user(number):
    return f"user{number}@{DOMAIN}"


def imap(server, number=1):
    return Imap(server.ports["imap"], user(number), PASSWORD)


# ---- deliveries ----

def exists(client, mailbox="INBOX"):
    return int(re.search(rb"MESSAGES (\d+)", client.command(f"STATUS {mailbox} (MESSAGES)")).group(1))


class Boxes:
    """A connection to each account: how many messages there are, and whether they are what was sent."""

    def __init__(self, server, accounts=ACCOUNTS):
        self.clients = [imap(server, i + 1) for i in range(accounts)]

    def total(self):
        return sum(exists(c) for c in self.clients)

    def wait(self, total, seconds=120):
        end = time.monotonic() + seconds
        while (now := self.total()) < total:
            if time.monotonic() > end:
                raise Wrong(f"{total - now} of {total} messages did not arrive in {seconds} s")
            time.sleep(0.005)

    def check(self, run, count, body):
        """Every message of the run exactly once and byte for byte, below what the servers put on top."""
        seen = set()
        for client in self.clients:
            client.command("EXAMINE INBOX")
            answer = client.command("FETCH 1:* (BODY.PEEK[])") if exists(client) else b""
            for size, at in ((int(m.group(1)), m.end()) for m in re.finditer(rb"BODY\[\] \{(\d+)\}\r\n", answer)):
                message = answer[at:at + size]
                found = re.search(rb"X-Load-Id: (\S+)-(\d+)\r\nX-Load-Size: (\d+)\r\n", message)
                if not found or found.group(1).decode() != run:
                    continue
                number, start = int(found.group(2)), message.find(b"Date: Thu, 21 May 2026")
                if number in seen:
                    raise Wrong(f"message {number} came twice")
                seen.add(number)
                sender = re.search(rb"From: Load <([^>]*)>", message).group(1).decode()
                if message[start:] != rebuilt(run, number, int(found.group(3)), body, sender):
                    raise Wrong(f"message {number} is damaged")
        if len(seen) != count:
            raise Wrong(f"{count - len(seen)} of {count} messages are lost")

    def close(self):
        for client in self.clients:
            client.close()


def rebuilt(run, number, size, body, sender):
    """What smtp_load sent as this message."""
    head = (f"Date: Thu, 21 May 2026 05:33:29 -0700\r\nFrom: Load <{sender}>\r\nTo: {user(number % ACCOUNTS + 1)}\r\nSubject: load {run} {number}\r\n"
            f"Message-ID: <{run}.{number}@load.test>\r\nX-Load-Id: {run}-{number}\r\nX-Load-Size: {size}\r\n"
            "MIME-Version: 1.0\r\nX-Mailer: smtp_load\r\nReply-To: nobody@load.test\r\nList-Id: <load.test>\r\n"
            "References: <one@load.test> <two@load.test>\r\nIn-Reply-To: <two@load.test>\r\n"
            "Content-Type: multipart/mixed; boundary=\"=_load\"\r\n\r\n--=_load\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            "A text of a few words.\r\n.\r\n..and lines that begin with dots.\r\n\r\n--=_load\r\n"
            "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n")
    return head.encode() + body[:size] + b"\r\n--=_load--\r\n"


def load(server, service, mode, clients, messages):
    """smtp_load until the last message is visible in its mailbox; then all are compared. Messages a second."""
    boxes = Boxes(server)
    submits = service == "submissions"
    sender = user("%u") if submits else "load@abcd.com"
    run = f"r{random.getrandbits(32):08x}"
    before = boxes.total()
    with tempfile.NamedTemporaryFile() as body:
        began = time.monotonic()
        done = subprocess.run([BUILD / "smtp_load", "--port", str(server.ports[service]), "--clients", str(clients), "--messages", str(messages), "--mode", mode,
                               "--to", f"user%u@{DOMAIN}", "--spread", str(ACCOUNTS), "--run", run, "--body", body.name, "--from", sender,
                               *(["--lmtp"] if service == "lmtp" else []), *(["--tls", "--login", sender, "--password", PASSWORD] if submits else [])], capture_output=True, text=True, timeout=300)
        said = json.loads(done.stdout)
        if said["acknowledged"] != messages:
            raise Wrong(f"not all were taken: {done.stdout}")
        boxes.wait(before + messages)
        took = time.monotonic() - began
        server.cpu_end()
        boxes.check(run, messages, pathlib.Path(body.name).read_bytes())
    boxes.close()
    return messages / took


def relay(server):
    """Messages for 10 domains, until the last has arrived at the server that takes them."""
    messages = 1500
    sink = subprocess.Popen([BUILD / "smtp_sink", "--port", str(server.relay_port), "--count", str(messages)], stdout=subprocess.PIPE, text=True)
    try:
        wait_port(server.relay_port)
        began = time.monotonic()
        subprocess.run([BUILD / "smtp_load", "--port", str(server.ports["smtp"]), "--clients", "20", "--messages", str(messages), "--mode", "pipelined",
                        "--from", user(1), "--to", "someone@domain%u.test", "--spread", "10"], capture_output=True, text=True, timeout=300, check=True)
        said = json.loads(sink.communicate(timeout=120)[0])
        took = time.monotonic() - began
    finally:
        sink.kill()
    server.cpu_end()
    if said["distinct"] < messages:
        raise Wrong(f"the sink got {said}")
    return messages / took


# ---- reading ----

def message(number, size=2000):
    return (f"From: Elinor <elinor{number % 40}@abcd.com>\r\nTo: carolyn@xyz.com\r\nSubject: week {number % 50} of {number}\r\nDate: Thu, 21 May 2026 05:33:29 -0700\r\n"
            f"Message-ID: <{number}@bench.test>\r\nMIME-Version: 1.0\r\nReceived: from a.test by b.test with ESMTP id {number}; Thu, 21 May 2026 05:33:29 -0700\r\n"
            "X-Mailer: bench\r\nReply-To: nobody@abcd.com\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
            f"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{'Words of a text that somebody wrote. ' * (size // 76)}\r\n"
            f"--b\r\nContent-Type: text/html\r\n\r\n<p>{'Words of a text that somebody wrote. ' * (size // 76)}</p>\r\n--b--\r\n").encode()


def mail_load(server, *lines, service="imap", setup=(), clients=1, count=1, pipeline=1, options=()):
    """test/tool/mail_load says the lines; returns what it measured."""
    command = [BUILD / "mail_load", "--port", str(server.ports[service]), "--clients", str(clients), "--count", str(count), "--pipeline", str(pipeline),
               "--password", PASSWORD, "--user", f"user%u@{DOMAIN}", *options]
    for name, texts in (("--setup", setup), ("--line", lines)):
        for text in texts:
            command += [name, text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise Wrong(done.stderr)
    return json.loads(done.stdout)


def filled(server, mailbox, count, size):
    """A connection with `mailbox` of user1, filled up to `count` messages."""
    client = imap(server)
    with contextlib.suppress(RuntimeError):
        client.command(f"CREATE {mailbox}")
    have = exists(client, mailbox)
    while have < count:
        batch = min(100, count - have)
        client.append_many(mailbox, [message(have + i, size) for i in range(batch)])
        have += batch
    return client


def fetch(server, items, mailbox="Big", count=10000, size=2000, times=3):
    filled(server, mailbox, count, size).close()
    server.cpu_begin()
    said = mail_load(server, f"FETCH 1:* {items}", setup=[f"EXAMINE {mailbox}"], count=times)
    server.cpu_end()
    if said["untagged"] < count * times:
        raise Wrong(f"{items}: {said['untagged']} answers for {count} messages")
    return count / said["p50_us"] * 1e6


def bodies(server):
    """All messages whole; afterwards they are compared byte by byte."""
    figure = fetch(server, "BODY.PEEK[]")
    client = filled(server, "Big", 10000, 2000)
    client.command("EXAMINE Big")
    for first in range(0, 10000, 500):
        answer = client.command(f"FETCH {first + 1}:{first + 500} BODY.PEEK[]")
        for number in range(first, first + 500):
            text = message(number, 2000)
            at = answer.find(b"\r\n", answer.find(b"* %d FETCH " % (number + 1))) + 2
            if answer[at:at + len(text)] != text:
                raise Wrong(f"message {number + 1} is damaged")
    client.close()
    return figure


def first_envelopes(server):
    """A mailbox that nobody has looked at yet."""
    name = f"Fresh{random.getrandbits(24):x}"
    client = filled(server, name, 3000, 2000)
    client.close()
    return fetch(server, "(ENVELOPE BODYSTRUCTURE)", name, 3000, times=1)


def single(server):
    """Milliseconds of a random single message, the median."""
    filled(server, "Big", 10000, 2000).close()
    return mail_load(server, "FETCH %r BODY.PEEK[]", setup=["EXAMINE Big"], count=2000, options=["--range", "10000"])["p50_us"] / 1000


def select(server, change):
    """Milliseconds of SELECT of a large mailbox, the median."""
    client = filled(server, "Large", LARGE, 200)
    other = imap(server)
    client.command("SELECT Large")
    times = []
    for i in range(15):
        client.command("SELECT INBOX")
        if change:
            other.append("Large", message(LARGE + i, 200))
        times.append(client.timed("SELECT Large")[0])
    client.close()
    other.close()
    return sorted(times)[7] * 1000


def store_all(server):
    """Milliseconds to set and clear a flag of 10,000 messages, the median."""
    filled(server, "Big", 10000, 2000).close()
    return mail_load(server, "STORE 1:10000 +FLAGS.SILENT (\\Flagged)", "STORE 1:10000 -FLAGS.SILENT (\\Flagged)", setup=["SELECT Big"], count=10)["p50_us"] / 1000


def store_random(server):
    filled(server, "Big", 10000, 2000).close()
    return mail_load(server, "STORE %r +FLAGS.SILENT (\\Answered)", "STORE %r -FLAGS.SILENT (\\Answered)", setup=["SELECT Big"], count=1000,
                     options=["--range", "10000"])["per_second"]


def copy_move_expunge(server, what):
    """Milliseconds for 10,000 messages."""
    client = filled(server, "Big", 10000, 2000)
    name, other = (f"T{random.getrandbits(24):x}" for _ in range(2))
    client.command(f"CREATE {name}")
    client.command(f"CREATE {other}")
    client.command("SELECT Big")
    took = client.timed(f"COPY 1:10000 {name}")[0]
    if what != "copy":
        client.command(f"SELECT {name}")
        server.cpu_begin()
        if what == "move":
            took = client.timed(f"MOVE 1:10000 {other}")[0]
        else:
            client.command("STORE 1:10000 +FLAGS.SILENT (\\Deleted)")
            took = client.timed("EXPUNGE")[0]
    client.command("SELECT INBOX")
    for box in (name, other):
        client.command(f"DELETE {box}")
    client.close()
    return took * 1000


def search(server, criteria):
    """Milliseconds in the large mailbox, the median."""
    client = filled(server, "Large", LARGE, 200)
    client.command("SELECT Large")
    times = sorted(client.timed(f"SEARCH {criteria}")[0] for _ in range(9))
    client.close()
    return times[4] * 1000


# ---- many at once ----

def append(server, clients):
    for i in range(clients):
        c = imap(server, i + 1)
        with contextlib.suppress(RuntimeError):
            c.command("CREATE Drafts")
        c.close()
    with tempfile.NamedTemporaryFile() as text:
        text.write(message(1, 8000))
        text.flush()
        return mail_load(server, "APPEND Drafts {}", clients=clients, count=2000 // clients, options=["--literal", text.name])["per_second"]


def pop3(server):
    """All messages of ten mailboxes at once; afterwards one mailbox is compared byte by byte."""
    for i in range(10):
        client = imap(server, i + 1)
        while (have := exists(client)) < 500:
            client.append_many("INBOX", [message(have + n, 16000) for n in range(50)])
        client.close()
    figure = mail_load(server, "RETR %n", service="pop3", clients=10, count=500, pipeline=50, options=["--pop3"])["per_second"]
    client = Pop3(server.ports["pop3"], user(1), PASSWORD)
    held = client.drain()
    client.close()
    for number in range(500):
        if held.count(message(number, 16000)) != 1:
            raise Wrong(f"message {number + 1} is damaged")
    return figure


def login(server, service="imap"):
    return mail_load(server, "SELECT INBOX", clients=4, count=250, service=service, options=["--again", *(["--tls"] if service == "imaps" else [])])["per_second"]


def idle_memory(server):
    """Kilobytes for each of 1,000 connections in IDLE, after the peer had time to hibernate them."""
    before = server.memory()
    clients = [imap(server, i % ACCOUNTS + 1) for i in range(1000)]
    for c in clients:
        c.command("SELECT INBOX")
        c.socket.sendall(b"i IDLE\r\n")
        c.socket.recv(4096)
    time.sleep(6)
    after = server.memory()
    for c in clients:
        c.close()
    return (after - before) / 1000 / 1024


LARGE = 100000  # messages of the large mailbox

# name, unit, what is better, goal (ratio), function
ROWS = [
    ("SMTP in, a connection each, 20 clients, visible", "msg/s", "more", 10, lambda s: load(s, "smtp", "connect", 20, 1500)),
    ("SMTP in, connections kept, pipelined, 20 clients, visible", "msg/s", "more", 12, lambda s: load(s, "smtp", "pipelined", 20, 2000)),
    ("SMTP in, one client, serial, visible", "msg/s", "more", 4, lambda s: load(s, "smtp", "kept", 1, 500)),
    ("LMTP, 10 clients", "msg/s", "more", 6, lambda s: load(s, "lmtp", "pipelined", 10, 2000)),
    ("LMTP, 1 client", "msg/s", "more", 4, lambda s: load(s, "lmtp", "pipelined", 1, 1000)),
    ("submission with TLS and AUTH, a connection each", "msg/s", "more", 4, lambda s: load(s, "submissions", "connect", 20, 1000)),
    ("submission with TLS and AUTH, connections kept", "msg/s", "more", 7, lambda s: load(s, "submissions", "kept", 20, 2000)),
    ("relay to a sink, 10 domains, arrived", "msg/s", "more", 8, relay),
    ("POP3 drain, 10 clients", "msg/s", "more", 3, pop3),
    ("IMAP APPEND, 10 clients", "msg/s", "more", 3, lambda s: append(s, 10)),
    ("IMAP APPEND, 1 client", "msg/s", "more", 2, lambda s: append(s, 1)),
    ("FETCH 1:* (FLAGS UID), 10,000", "msg/s", "more", 3, lambda s: fetch(s, "(FLAGS UID)")),
    ("FETCH ENVELOPE BODYSTRUCTURE, first time", "msg/s", "more", 10, first_envelopes),
    ("FETCH ENVELOPE BODYSTRUCTURE, again", "msg/s", "more", 3, lambda s: fetch(s, "(ENVELOPE BODYSTRUCTURE)")),
    ("FETCH of four header fields", "msg/s", "more", 1.5, lambda s: fetch(s, FIELDS)),
    ("FETCH 1:* BODY.PEEK[]", "msg/s", "more", 2, bodies),
    ("FETCH of a random single message, p50", "ms", "less", 2, single),
    ("SELECT of the large mailbox, unchanged", "ms", "less", 1, lambda s: select(s, False)),
    ("SELECT of the large mailbox, after an APPEND", "ms", "less", 5, lambda s: select(s, True)),
    ("STORE flags on 10,000", "ms", "less", 1, store_all),
    ("STORE of a random single one (ours durable)", "1/s", "more", None, store_random),
    ("COPY of 10,000", "ms", "less", 5, lambda s: copy_move_expunge(s, "copy")),
    ("MOVE of 10,000", "ms", "less", 5, lambda s: copy_move_expunge(s, "move")),
    ("EXPUNGE of 10,000", "ms", "less", 5, lambda s: copy_move_expunge(s, "expunge")),
    ("SEARCH UNSEEN in the large mailbox", "ms", "less", 10, lambda s: search(s, "UNSEEN")),
    ("SEARCH SINCE in the large mailbox", "ms", "less", 50, lambda s: search(s, "SINCE 1-Feb-2026")),
    ("login + SELECT + logout", "1/s", "more", 5, login),
    ("login + SELECT + logout, TLS", "1/s", "more", 2, lambda s: login(s, "imaps")),
    ("memory of an idle IMAP connection", "KB", "less", None, idle_memory),
]
