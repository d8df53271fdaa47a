"""The rows of `bench/compare`. A row is a workload, a function of a running server, and the figures that one round of it gives."""
import typing

import delivery
import idle
import reading

FIELDS = "BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]"


class Figure(typing.NamedTuple):
    name: str
    unit: str
    better: str                # "more" or "less"
    goal: float | None = None  # times the better peer
    under: float | None = None  # or an absolute goal
    over: float | None = None

    def met(self, ours, times):
        """times: of the better peer. None: there is no goal."""
        if self.under is not None:
            return ours < self.under
        if self.over is not None:
            return ours >= self.over
        return None if self.goal is None else times >= self.goal

    def said(self):
        if self.under is not None:
            return f"under {self.under:g} {self.unit}".strip()
        if self.over is not None:
            return f"{self.over:g} {self.unit}".strip()
        return "" if self.goal is None else f"{self.goal}x"


class Row(typing.NamedTuple):
    figures: tuple
    run: typing.Callable  # gets the server; returns the figure, or as many as there are


def row(name, unit, better, goal, run, under=None):
    return Row((Figure(name, unit, better, goal, under),), run)


def row_of_two(name, first, second, unit, under, run):
    """Two figures of one round, of which less is better, with absolute goals."""
    return Row(tuple(Figure(f"{name}: {which}", unit, "less", under=limit) for which, limit in zip((first, second), under)), run)


ROWS = [
    row("SMTP in, a connection each, 20 clients, visible", "msg/s", "more", 10, lambda s: delivery.load(s, "smtp", "connect", 20, 1500)),
    row("SMTP in, connections kept, pipelined, 20 clients, visible", "msg/s", "more", 12, lambda s: delivery.load(s, "smtp", "pipelined", 20, 2000)),
    row("SMTP in, one client, serial, visible", "msg/s", "more", 4, lambda s: delivery.load(s, "smtp", "kept", 1, 500)),
    row("submission, TLS and AUTH, a connection each, visible", "msg/s", "more", 4, lambda s: delivery.load(s, "submissions", "connect", 20, 1000)),
    row("submission, TLS and AUTH, connections kept, visible", "msg/s", "more", 7, lambda s: delivery.load(s, "submissions", "kept", 20, 1500)),
    row("LMTP, 10 clients", "msg/s", "more", 6, lambda s: delivery.load(s, "lmtp", "pipelined", 10, 2000)),
    row("LMTP, 1 client", "msg/s", "more", 4, lambda s: delivery.load(s, "lmtp", "pipelined", 1, 1000)),
    row("LMTP, 10 clients, into one large mailbox", "msg/s", "more", 8, delivery.load_large),
    row("relay to a sink, 10 domains, arrived", "msg/s", "more", 8, delivery.relay),
    row("server CPU for a message, SMTP in", "ms", "less", None, delivery.cpu_each, under=0.5),
    row("POP3 drain, 10 clients", "msg/s", "more", 3, reading.pop3),
    row("IMAP APPEND, 10 clients", "msg/s", "more", 3, lambda s: reading.append(s, 10)),
    row("IMAP APPEND, 1 client", "msg/s", "more", 2, lambda s: reading.append(s, 1)),
    row("FETCH 1:* (FLAGS UID), 10,000", "msg/s", "more", 3, lambda s: reading.fetch(s, "(FLAGS UID)")),
    row("FETCH ENVELOPE BODYSTRUCTURE, first time", "msg/s", "more", 10, reading.first_envelopes),
    row("FETCH ENVELOPE BODYSTRUCTURE, again", "msg/s", "more", 3, lambda s: reading.fetch(s, "(ENVELOPE BODYSTRUCTURE)")),
    row("FETCH of four header fields", "msg/s", "more", 1.5, lambda s: reading.fetch(s, FIELDS)),
    row("FETCH 1:* BODY.PEEK[]", "msg/s", "more", 2, reading.bodies),
    row("FETCH of a random single message, p50", "ms", "less", 2, reading.single),
    row("SELECT of the large mailbox, unchanged", "ms", "less", 1, reading.select),
    row("SELECT of the large mailbox, after an APPEND", "ms", "less", 5, reading.select_after_append),
    row("SELECT of the large mailbox, QRESYNC after 5 changes", "ms", "less", 10, reading.select_qresync),
    row("STORE flags on 10,000", "ms", "less", 1, reading.store_all),
    Row((Figure("STORE of a random single one (ours durable)", "1/s", "more"),
         Figure("STORE of a random single one, beside the disk's syncs", "", "more", over=0.8)), reading.store_random),
    row("COPY of 10,000", "ms", "less", 5, lambda s: reading.copy_move_expunge(s, "copy")),
    row("MOVE of 10,000", "ms", "less", 5, lambda s: reading.copy_move_expunge(s, "move")),
    row("EXPUNGE of 10,000", "ms", "less", 5, lambda s: reading.copy_move_expunge(s, "expunge")),
    row("SEARCH UNSEEN in the large mailbox", "ms", "less", 10, lambda s: reading.search(s, "UNSEEN")),
    row("SEARCH SINCE in the large mailbox", "ms", "less", 50, lambda s: reading.search(s, "SINCE 1-Feb-2026")),
    row("login + SELECT + logout", "1/s", "more", 5, reading.login),
    row("login + SELECT + logout, TLS", "1/s", "more", 2, lambda s: reading.login(s, "imaps")),
    row("memory of an idle IMAP connection", "KB", "less", None, lambda s: idle.memory(s, "idle"), under=6),
    row("memory of an idle IMAP connection, TLS", "KB", "less", None, lambda s: idle.memory(s, "idles"), under=30),
    row_of_two("SMTP delivery to EXISTS in IDLE", "p50", "p99", "ms", (3, 20), idle.news),
    row_of_two("SMTP delivery to EXISTS, peer hibernated", "p50", "p99", "ms", (3, 20), idle.news_hibernated),
    row_of_two("kill -9 under SMTP load", "lost", "doubled", "msg", (1, 1), delivery.kill_9),
]
