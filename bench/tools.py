"""What all workloads need: the load generators (test/tool), connections, messages and the comparison byte by byte."""
import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

from client import Imap
from servers import ACCOUNTS, DOMAIN, PASSWORD, ROOT

BUILD = pathlib.Path(os.environ.get("POSTRIDER", ROOT / "build/postrider")).parent
SENDER = "load@abcd.com"


class Wrong(Exception):
    """A message is lost, doubled or damaged, or was not taken."""


def user(number):
    return f"user{number}@{DOMAIN}"


def imap(server, number=1):
    return Imap(server.ports["imap"], user(number), PASSWORD)


def tool(name, *options, accept=(0,)):
    """Runs a load generator; returns the line of JSON that it prints."""
    done = subprocess.run([BUILD / name, *map(str, options)], capture_output=True, text=True, timeout=600)
    if done.returncode not in accept:
        raise Wrong(f"{name}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def mail_load(server, *lines, service="imap", clients=1, count=1, pipeline=1, options=(), **more):
    """mail_load says the lines; more: setup, before, other, other_setup (lists of lines)."""
    command = ["--port", server.ports[service], "--clients", clients, "--count", count, "--pipeline", pipeline, "--password", PASSWORD,
               "--user", f"user%u@{DOMAIN}", *options]
    for name, texts in (("line", lines), *more.items()):
        for text in texts:
            command += [f"--{name.replace('_', '-')}", text]
    said = tool("mail_load", *command)
    server.notes.update({name: said[name] for name in ("p50_us", "p99_us")})
    return said


def syncs(directory, seconds, size=1024):
    """How often a second the disk of this directory takes `size` more bytes of a growing file, each time with fdatasync: what a log does."""
    with tempfile.TemporaryFile(dir=directory, buffering=0) as log:
        began, count = time.monotonic(), 0
        while (took := time.monotonic() - began) < seconds:
            log.write(b"x" * size)
            os.fdatasync(log.fileno())
            count += 1
    return count / took


def exists(client, mailbox="INBOX"):
    return int(re.search(rb"MESSAGES (\d+)", client.command(f"STATUS {mailbox} (MESSAGES)")).group(1))


# ---- messages that smtp_load made ----

def rebuilt(run, number, size, body, sender=SENDER, spread=ACCOUNTS, first=1, to=user("%u")):
    """What smtp_load sent as this message."""
    head = (f"Date: Thu, 21 May 2026 05:33:29 -0700\r\nFrom: Load <{sender}>\r\nTo: {to.replace('%u', str(number % spread + first))}\r\nSubject: load {run} {number}\r\n"
            f"Message-ID: <{run}.{number}@load.test>\r\nX-Load-Id: {run}-{number}\r\nX-Load-Size: {size}\r\n"
            "MIME-Version: 1.0\r\nX-Mailer: smtp_load\r\nReply-To: nobody@load.test\r\nList-Id: <load.test>\r\n"
            "References: <one@load.test> <two@load.test>\r\nIn-Reply-To: <two@load.test>\r\n"
            "Content-Type: multipart/mixed; boundary=\"=_load\"\r\n\r\n--=_load\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            "A text of a few words.\r\n.\r\n..and lines that begin with dots.\r\n\r\n--=_load\r\n"
            "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n")
    return head.encode() + body[:size] + b"\r\n--=_load--\r\n"


def load_id(text):
    """(run, number, size) of a message, or None if smtp_load did not make it."""
    found = re.search(rb"X-Load-Id: (\S+)-(\d+)\r\nX-Load-Size: (\d+)\r\n", text)
    return found and (found.group(1).decode(), int(found.group(2)), int(found.group(3)))


def literals(answer):
    """The bodies in an answer to FETCH BODY[]."""
    at = 0
    while found := re.compile(rb"BODY\[\] \{(\d+)\}\r\n").search(answer, at):
        at = found.end() + int(found.group(1))
        yield answer[found.end():at]


class Boxes:
    """A connection to each account: how many messages there are, and whether they are what was sent."""

    def __init__(self, server, accounts=range(1, ACCOUNTS + 1)):
        self.server, self.accounts = server, accounts
        self.clients = [imap(server, i) for i in accounts]
        self.first = [exists(c) + 1 for c in self.clients]  # before the load; earlier messages were checked

    def again(self):
        """The same after a restart of the server."""
        self.close()
        boxes = Boxes(self.server, self.accounts)
        boxes.first = self.first
        return boxes

    def total(self):
        """Messages that came since."""
        return sum(exists(c) - first + 1 for c, first in zip(self.clients, self.first))

    def wait(self, total, seconds=120):
        end = time.monotonic() + seconds
        while (now := self.total()) < total:
            if time.monotonic() > end:
                raise Wrong(f"{total - now} of {total} messages did not arrive in {seconds} s")
            time.sleep(0.005)

    def arrived(self, run, body, spread=ACCOUNTS, first=1, senders=(SENDER,)):
        """{number: how often} of the run's messages; Wrong if one differs by a byte from what was sent, below what the servers put on top."""
        seen = {}
        for client, old in zip(self.clients, self.first):
            client.command("EXAMINE INBOX")
            answer = client.command(f"FETCH {old}:* (BODY.PEEK[])") if exists(client) >= old else b""
            for text in literals(answer):
                found = load_id(text)
                if not found or found[0] != run:
                    continue
                number, start = found[1], text.find(b"Date: Thu, 21 May 2026")
                seen[number] = seen.get(number, 0) + 1
                if not any(text[start:] == rebuilt(*found, body, sender, spread, first) for sender in senders):
                    raise Wrong(f"message {number} is damaged")
        return seen

    def check(self, run, count, body, **how):
        """Every message of the run exactly once and byte for byte."""
        seen = self.arrived(run, body, **how)
        if doubled := [n for n, times in seen.items() if times > 1]:
            raise Wrong(f"{len(doubled)} messages came twice")
        if set(seen) != set(range(count)):
            raise Wrong(f"{count - len(seen)} of {count} messages are lost")

    def close(self):
        for client in self.clients:
            client.close()


# ---- messages that are put there ----

def message(number, size=2000):
    return (f"From: Elinor <elinor{number % 40}@abcd.com>\r\nTo: carolyn@xyz.com\r\nSubject: week {number % 50} of {number}\r\nDate: Thu, 21 May 2026 05:33:29 -0700\r\n"
            f"Message-ID: <{number}@bench.test>\r\nMIME-Version: 1.0\r\nReceived: from a.test by b.test with ESMTP id {number}; Thu, 21 May 2026 05:33:29 -0700\r\n"
            "X-Mailer: bench\r\nReply-To: nobody@abcd.com\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
            f"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{'Words of a text that somebody wrote. ' * (size // 76)}\r\n"
            f"--b\r\nContent-Type: text/html\r\n\r\n<p>{'Words of a text that somebody wrote. ' * (size // 76)}</p>\r\n--b--\r\n").encode()


def filled(server, mailbox, count, size, number=1):
    """A connection of user `number` with `mailbox` filled up to `count` messages."""
    client = imap(server, number)
    with contextlib.suppress(RuntimeError):
        client.command(f"CREATE {mailbox}")
    have = exists(client, mailbox)
    while have < count:
        batch = min(100, count - have)
        client.append_many(mailbox, [message(have + i, size) for i in range(batch)])
        have += batch
    return client


def filled_large(server, count, size, number):
    """The INBOX of user `number` filled up to `count` messages, most of them copies of what this call appends, about a hundred of each: a peer takes
    minutes to sync 100,000 appended ones, and a store may refuse very many copies of one."""
    client = imap(server, number)
    old = exists(client)
    client.close()
    client = filled(server, "INBOX", min(count, old + max(1000, count // 100)), size, number)
    client.command("SELECT INBOX")
    while (have := exists(client)) < count:
        client.command(f"COPY {old + 1}:{old + min(have - old, count - have, 10000)} INBOX")
        client.command("NOOP")
    client.close()
