"""Workloads of connections in IDLE: what one costs, and how fast news reach it."""
from servers import IDLE_ACCOUNTS, IDLE_FIRST, PASSWORD
from sizes import SIZES
from tools import tool, user


def idle(server, service, count, *more):
    return tool("imap_idle", "--port", server.ports[service], "--user", user("%u"), "--password", PASSWORD, "--accounts", IDLE_ACCOUNTS,
                "--first", IDLE_FIRST, "--count", count, "--wait", SIZES.idle_wait_ms, *(["--tls"] if service == "idles" else []), *more)


def memory(server, service):
    """Kilobytes for a connection, when the peer has hibernated them all."""
    said = idle(server, service, SIZES.idle, "--pid", ",".join(map(str, server.roots())))
    server.notes.update(said)
    return said["kb_each"]


def news(server):
    """Milliseconds from the end of the message on the SMTP connection to EXISTS: (p50, p99)."""
    said = idle(server, "idle", SIZES.times(100, IDLE_ACCOUNTS), "--smtp", server.ports["smtp"], "--deliveries", SIZES.times(200, 10))
    server.notes.update(said)
    return said["exists_ms_p50"], said["exists_ms_p99"]
