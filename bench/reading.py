"""Workloads on what is in the mailboxes: one user's commands, their latency or throughput."""
import random
import tempfile

from client import Pop3
from servers import LARGE, PASSWORD
from sizes import SIZES
from tools import Wrong, contextlib, exists, filled, filled_large, imap, mail_load, message, syncs, user

MESSAGE_BYTES, LARGE_BYTES = 2000, 200  # of the messages in the mailbox that is read, and in the large one


def big(server):
    filled(server, "Big", SIZES.big, MESSAGE_BYTES).close()
    server.cpu_begin()
    return SIZES.big


def large(server):
    filled_large(server, SIZES.large, LARGE_BYTES, LARGE)
    server.cpu_begin()
    return ["--user", user(LARGE)]


# ---- FETCH ----

def fetch_from(server, mailbox, items, count, times):
    said = mail_load(server, f"FETCH 1:* {items}", setup=[f"EXAMINE {mailbox}"], count=times)
    server.cpu_end()
    if said["untagged"] < count * times:
        raise Wrong(f"{items}: {said['untagged']} answers for {count} messages")
    return count / said["p50_us"] * 1e6


def fetch(server, items):
    """Messages a second."""
    return fetch_from(server, "Big", items, big(server), 3)


def bodies(server):
    """All messages whole; afterwards they are compared byte by byte."""
    figure = fetch(server, "BODY.PEEK[]")
    client = imap(server)
    client.command("EXAMINE Big")
    for first in range(0, SIZES.big, 500):
        last = min(first + 500, SIZES.big)
        answer = client.command(f"FETCH {first + 1}:{last} BODY.PEEK[]")
        for number in range(first, last):
            text = message(number, MESSAGE_BYTES)
            at = answer.find(b"\r\n", answer.find(b"* %d FETCH " % (number + 1))) + 2
            if answer[at:at + len(text)] != text:
                raise Wrong(f"message {number + 1} is damaged")
    client.close()
    return figure


def first_envelopes(server):
    """A mailbox that nobody has looked at yet."""
    name = f"Fresh{random.getrandbits(24):x}"
    filled(server, name, SIZES.fresh, MESSAGE_BYTES).close()
    server.cpu_begin()
    return fetch_from(server, name, "(ENVELOPE BODYSTRUCTURE)", SIZES.fresh, 1)


def single(server):
    """Milliseconds of a random single message, the median."""
    return mail_load(server, "FETCH %r BODY.PEEK[]", setup=["EXAMINE Big"], count=SIZES.times(2000), options=["--range", big(server)])["p50_us"] / 1000


# ---- SELECT and SEARCH of the large mailbox ----

def select(server):
    """Milliseconds, the median."""
    return mail_load(server, "SELECT INBOX", options=large(server), setup=["CREATE Empty"] if fresh_account(server) else [], before=["SELECT Empty"],
                     count=SIZES.times(100))["p50_us"] / 1000


def fresh_account(server):
    client = imap(server, LARGE)
    answer = client.command('LIST "" Empty')
    client.close()
    return b"Empty" not in answer


def select_after_append(server):
    with tempfile.NamedTemporaryFile() as text:
        text.write(message(1, LARGE_BYTES))
        text.flush()
        return mail_load(server, "SELECT INBOX", options=[*large(server), "--literal", text.name], setup=["CREATE Empty"] if fresh_account(server) else [],
                         other=["APPEND INBOX {}"], before=["SELECT Empty"], count=SIZES.times(30))["p50_us"] / 1000


def select_qresync(server):
    """After another client changed the flags of five messages; the client knows the state of its last SELECT (RFC 7162 3.2.5)."""
    return mail_load(server, "SELECT INBOX (QRESYNC (%v %m))", options=[*large(server), "--range", SIZES.large],
                     setup=["ENABLE QRESYNC", *(["CREATE Empty"] if fresh_account(server) else []), "SELECT INBOX"], other_setup=["SELECT INBOX"],
                     other=[f"STORE %r +FLAGS.SILENT ({flag})" for flag in ("\\Flagged", "\\Answered", "\\Seen", "\\Draft", "\\Flagged")],
                     before=["UNSELECT"], count=SIZES.times(30))["p50_us"] / 1000


def search(server, criteria):
    return mail_load(server, f"SEARCH {criteria}", setup=["SELECT INBOX"], options=large(server), count=9)["p50_us"] / 1000


# ---- changes ----

def store_all(server):
    """Milliseconds to set and clear a flag of all, the median."""
    count = big(server)
    return mail_load(server, f"STORE 1:{count} +FLAGS.SILENT (\\Flagged)", f"STORE 1:{count} -FLAGS.SILENT (\\Flagged)", setup=["SELECT Big"], count=10)["p50_us"] / 1000


def store_random(server):
    """Changes a second, and what part of the disk's syncs a second that is, measured right after it."""
    said = mail_load(server, "STORE %r +FLAGS.SILENT (\\Answered)", "STORE %p -FLAGS.SILENT (\\Answered)", setup=["SELECT Big"], count=SIZES.times(1000),
                     options=["--range", big(server)])["per_second"]
    server.cpu_end()
    server.notes["disk_syncs"] = syncs(server.directory, SIZES.sync_seconds)
    return said, said / server.notes["disk_syncs"]


def copy_move_expunge(server, what):
    """Milliseconds for all of the mailbox."""
    count = big(server)
    client = imap(server)
    name, other = (f"T{random.getrandbits(24):x}" for _ in range(2))
    client.command(f"CREATE {name}")
    client.command(f"CREATE {other}")
    client.command("SELECT Big")
    took = client.timed(f"COPY 1:{count} {name}")[0]
    if what != "copy":
        client.command(f"SELECT {name}")
        server.cpu_begin()
        if what == "move":
            took = client.timed(f"MOVE 1:{count} {other}")[0]
        else:
            client.command(f"STORE 1:{count} +FLAGS.SILENT (\\Deleted)")
            took = client.timed("EXPUNGE")[0]
    wanted = count if what != "expunge" else 0
    if exists(client, other if what == "move" else name) != wanted:
        raise Wrong(f"{what}: not {wanted} messages")
    client.command("SELECT INBOX")
    for box in (name, other):
        client.command(f"DELETE {box}")
    client.close()
    return took * 1000


# ---- many at once ----

def append(server, clients):
    for i in range(clients):
        client = imap(server, i + 1)
        with contextlib.suppress(RuntimeError):
            client.command("CREATE Drafts")
        client.close()
    with tempfile.NamedTemporaryFile() as text:
        text.write(message(1, 8000))
        text.flush()
        server.cpu_begin()
        return mail_load(server, "APPEND Drafts {}", clients=clients, count=SIZES.times(2000 // clients), options=["--literal", text.name])["per_second"]


def pop3(server):
    """All messages of ten mailboxes at once; afterwards one mailbox is compared byte by byte."""
    count = SIZES.times(500, 20)
    for i in range(10):
        client = imap(server, i + 1)
        while (have := exists(client)) < count:
            client.append_many("INBOX", [message(have + n, 16000) for n in range(min(50, count - have))])
        client.close()
    server.cpu_begin()
    figure = mail_load(server, "RETR %n", service="pop3", clients=10, count=count, pipeline=min(50, count), options=["--pop3"])["per_second"]
    server.cpu_end()
    reader, drop = imap(server), Pop3(server.ports["pop3"], user(1), PASSWORD)
    reader.command("EXAMINE INBOX")
    for number in range(count):
        if drop.retrieve(number + 1) != reader.body(number + 1):
            raise Wrong(f"message {number + 1} differs between POP3 and IMAP")
    reader.close()
    drop.close()
    return figure


def login(server, service="imap"):
    return mail_load(server, "SELECT INBOX", clients=4, count=SIZES.times(250), service=service,
                     options=["--again", *(["--tls"] if service == "imaps" else [])])["per_second"]
