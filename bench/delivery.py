"""Workloads that bring messages in. A delivery counts when IMAP shows the message in its mailbox; then all are compared byte by byte."""
import pathlib
import random
import subprocess
import tempfile
import time

from servers import ACCOUNTS, DOMAIN, LARGE, PASSWORD, wait_port
from sizes import SIZES
from tools import BUILD, Boxes, Wrong, filled_large, json, tool, user


def smtp_load_options(server, service, mode, clients, messages):
    options = ["--port", server.ports[service], "--clients", clients, "--messages", messages, "--mode", mode]
    if service == "lmtp":
        options += ["--lmtp"]
    if service == "submissions":  # each client is a user that sends in its own name
        options += ["--tls", "--login", f"user%u@{DOMAIN}", "--password", PASSWORD, "--from", f"user%u@{DOMAIN}"]
    return options


def load(server, service, mode, clients, messages, into=None):
    """smtp_load until the last message is visible, to all accounts or to the one account `into`; then all are compared. Messages a second."""
    messages = SIZES.times(messages, 2 * clients)
    run = f"r{random.getrandbits(32):08x}"
    boxes = Boxes(server, [into] if into else range(1, ACCOUNTS + 1))
    where = {"spread": 1, "first": into} if into else {}
    with tempfile.NamedTemporaryFile() as body:
        began = time.monotonic()
        said = tool("smtp_load", *smtp_load_options(server, service, mode, clients, messages), "--to", user(into) if into else user("%u"),
                    "--spread", ACCOUNTS, "--run", run, "--body", body.name, accept=(0, 1))
        if said["acknowledged"] != messages:
            raise Wrong(f"not all were taken: {said}")
        boxes.wait(messages)
        took = time.monotonic() - began
        server.cpu_end()
        senders = [user(i + 1) for i in range(ACCOUNTS)] if service == "submissions" else ["load@abcd.com"]
        boxes.check(run, messages, pathlib.Path(body.name).read_bytes(), senders=senders, **where)
    boxes.close()
    server.notes.update(p50_us=said["p50_us"], p99_us=said["p99_us"])
    return messages / took


def load_large(server):
    """Into the INBOX that is large already."""
    filled_large(server, SIZES.large, 200, LARGE)
    server.cpu_begin()
    return load(server, "lmtp", "pipelined", 10, 1500, into=LARGE)


def cpu_each(server):
    """Milliseconds of the server's CPU for a message."""
    messages = SIZES.times(1500, 40)
    load(server, "smtp", "connect", 20, 1500)
    return server.cpu_used() * 1000 / messages


def relay(server):
    """Messages for 10 domains, until the last has arrived at the server that takes them."""
    messages = SIZES.times(1500, 40)
    sink = subprocess.Popen([BUILD / "smtp_sink", "--port", str(server.relay_port), "--count", str(messages)], stdout=subprocess.PIPE, text=True)
    try:
        wait_port(server.relay_port)
        began = time.monotonic()
        tool("smtp_load", *smtp_load_options(server, "smtp", "pipelined", 20, messages), "--from", user(1), "--to", "someone@domain%u.test", "--spread", 10)
        said = json.loads(sink.communicate(timeout=120)[0])
        took = time.monotonic() - began
    finally:
        sink.kill()
        sink.wait()
    server.cpu_end()
    if said["distinct"] < messages:
        raise Wrong(f"the sink got {said}")
    return messages / took


def acknowledged_until_killed(server, run, folder, seconds):
    """Loads and kills the server meanwhile; the numbers of the messages that it had acknowledged."""
    options = smtp_load_options(server, "smtp", "pipelined", 20, 100000)
    command = [BUILD / "smtp_load", *options, "--to", user("%u"), "--spread", ACCOUNTS, "--run", run, "--body", folder / "body", "--acked", folder / "acked"]
    client = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(seconds)
        server.kill()
        client.wait(60)
    finally:
        client.kill()
        client.wait()
    server.restart()
    server.cpu_begin()
    return {int(line.rpartition("-")[2]) for line in (folder / "acked").read_text().split()}


def settled(boxes, run, body, acknowledged, seconds=60):
    """What has arrived of the run, when all of `acknowledged` has and no more comes; a peer's queue goes on after its restart."""
    end, total = time.monotonic() + seconds, -1
    while True:
        seen = boxes.arrived(run, body)
        if (acknowledged <= set(seen) and boxes.total() == total) or time.monotonic() > end:
            return seen
        total = boxes.total()
        time.sleep(1)


def kill_9(server):
    """(lost, doubled) of what was acknowledged before a kill -9 under load."""
    run = f"k{random.getrandbits(32):08x}"
    boxes = Boxes(server)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        acknowledged = acknowledged_until_killed(server, run, folder, 0.7 if SIZES.share > 1 else 4)
        boxes = boxes.again()
        seen = settled(boxes, run, (folder / "body").read_bytes(), acknowledged)
    boxes.close()
    lost, doubled = len(acknowledged - set(seen)), sum(times - 1 for times in seen.values())
    server.notes.update(acknowledged=len(acknowledged), lost=lost, doubled=doubled)
    if not acknowledged:
        raise Wrong("nothing was acknowledged before the kill")
    if server.name == "postrider" and (lost or doubled):
        raise Wrong(f"of {len(acknowledged)} acknowledged messages {lost} are lost and {doubled} came twice after kill -9")
    return lost, doubled
