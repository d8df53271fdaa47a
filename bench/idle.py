"""Workloads of connections in IDLE: what one costs, and how fast news reach it."""
from servers import ACCOUNTS, IDLE_ACCOUNTS, IDLE_FIRST, PASSWORD
from sizes import SIZES
from tools import Wrong, tool, user


def idle(server, service, count, accounts, first, *more):
    said = tool("imap_idle", "--port", server.ports[service], "--user", user("%u"), "--password", PASSWORD, "--accounts", accounts, "--first", first,
                "--count", count, *(["--tls"] if service == "idles" else []), *more)
    server.notes.update(said)
    return said


def memory(server, service):
    """Kilobytes for a connection, when the peer has hibernated them all. On a server just started: processes of earlier workloads would end meanwhile, and
    connections live in memory that those have freed."""
    server.kill()
    server.restart()
    said = idle(server, service, SIZES.idle, IDLE_ACCOUNTS, IDLE_FIRST, "--wait", SIZES.idle_wait_ms, "--pid", ",".join(map(str, server.roots())))
    if said["kb_each"] <= 0:
        raise Wrong(f"{SIZES.idle} connections took no memory: {said}")
    return said["kb_each"]


def news(server):
    """Milliseconds from the end of the message on the SMTP connection to EXISTS: (p50, p99). The peer does not hibernate."""
    said = idle(server, "imap", 60, ACCOUNTS, 1, "--smtp", server.ports["smtp"], "--deliveries", SIZES.times(60, 4))
    return said["exists_ms_p50"], said["exists_ms_p99"]


def news_hibernated(server):
    """The first news of connections that the peer had hibernated."""
    said = idle(server, "idle", 5 * IDLE_ACCOUNTS, IDLE_ACCOUNTS, IDLE_FIRST, "--wait", 4000, "--smtp", server.ports["smtp"], "--deliveries", IDLE_ACCOUNTS)
    return said["exists_ms_p50"], said["exists_ms_p99"]
