"""The clients of `bench/compare`: they read whole answers in large pieces and look at nothing that is not needed, so that they cost little beside
the server. Deliveries are made by test/tool/smtp_load, idle connections by test/tool/imap_idle."""
import re
import socket
import time

PIECE = 1 << 20


class Imap:
    """One connection; command() sends a line and reads up to the tagged answer."""

    def __init__(self, port, user, password):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = 0
        self.socket.recv(4096)  # the greeting
        if user:
            self.command(f"LOGIN {user} {password}")

    def command(self, line, literal=b""):
        """Returns the whole answer as bytes; RuntimeError unless it is OK."""
        self.number += 1
        tag = f"zq{self.number:06d}"
        self.socket.sendall(f"{tag} {line}\r\n".encode() + literal)
        answer = b"".join(self.until_tag(tag.encode() + b" "))
        last = answer[answer.rfind(b"\r\n" + tag.encode() + b" ") + 2:] if not answer.startswith(tag.encode()) else answer
        if not last[len(tag) + 1:].startswith(b"OK"):
            raise RuntimeError(f"{line}: {last[:200]!r}")
        return answer

    def until_tag(self, tag):
        pieces, tail = [], b"\r\n"
        while True:
            piece = self.socket.recv(PIECE)
            if not piece:
                raise ConnectionError("the server closed the connection")
            pieces.append(piece)
            tail = (tail + piece)[-2048:]
            if tail.endswith(b"\r\n") and tail.rfind(b"\r\n" + tag) >= 0:
                return pieces

    def timed(self, line):
        began = time.perf_counter()
        answer = self.command(line)
        return time.perf_counter() - began, answer

    def body(self, number):
        """A whole message."""
        answer = self.command(f"FETCH {number} BODY.PEEK[]")
        size, start = re.search(rb"\{(\d+)\}\r\n", answer).group(1), answer.find(b"}\r\n") + 3
        return answer[start:start + int(size)]

    def append_many(self, mailbox, messages):
        """MULTIAPPEND (RFC 3502)."""
        first, *others = messages
        literal = first + b"".join(b" {%d+}\r\n%s" % (len(m), m) for m in others) + b"\r\n"
        self.command(f"APPEND {mailbox} {{{len(first)}+}}", literal)

    def close(self):
        self.socket.close()


class Pop3:
    """One connection, for checks, not for measuring."""

    def __init__(self, port, user, password):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        for text in (f"USER {user}", f"PASS {password}"):
            self.command(text)

    def command(self, text):
        self.socket.sendall(text.encode() + b"\r\n")
        line = self.file.readline()
        if not line.startswith(b"+OK"):
            raise RuntimeError(f"{text}: {line!r}")
        return line

    def retrieve(self, number):
        """One message, its dots unstuffed."""
        self.command(f"RETR {number}")
        lines = []
        while (line := self.file.readline()) != b".\r\n":
            lines.append(line[line.startswith(b"."):])
        return b"".join(lines)

    def close(self):
        self.socket.sendall(b"QUIT\r\n")
        self.socket.close()
