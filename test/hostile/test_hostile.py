"""Slow, silent, endless and greedy clients: each costs only itself. While each is at work another client's mail goes through, and the memory of
the server stays where it was."""
import contextlib
import imaplib
import os
import resource
import socket
import threading
import time
import unittest
import uuid

from postrider import CAROLYN, ELINOR, PASSWORD, DemoTest, memory

MEGABYTE = 1 << 20


class Hostile(DemoTest):
    def connect(self, service):
        s = socket.create_connection(("127.0.0.1", self.demo.port(service)), timeout=30)
        self.addCleanup(s.close)
        return s

    def others_are_served(self):
        """Mail in and out for somebody else; the slowest of a few rounds must be far from any timeout."""
        slowest = 0.0
        for _ in range(3):
            word, began = uuid.uuid4().hex, time.monotonic()
            self.demo.send(word)
            self.demo.wait_for(word)
            slowest = max(slowest, time.monotonic() - began)
        return slowest

    def test_a_byte_a_second_and_silence(self):
        slow = [self.connect("smtp") for _ in range(50)] + [self.connect("imap") for _ in range(50)]
        silent = [self.connect(service) for service in ("smtp", "imap", "pop3", "submission") for _ in range(50)]
        stop = threading.Event()

        def trickle():
            while not stop.wait(0.5):
                for s in slow:
                    with contextlib.suppress(OSError):
                        s.send(b"x")

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        try:
            self.assertLess(self.others_are_served(), 10)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(len(silent), 200)

    def begin_data(self):
        """A connection to port 25 after DATA, and its file."""
        s = self.connect("smtp")
        f = s.makefile("rwb")
        f.readline()
        for line in (b"HELO abcd.com", b"MAIL FROM:<elinor@abcd.com>", b"RCPT TO:<carolyn@xyz.com>", b"DATA"):
            f.write(line + b"\r\n")
            f.flush()
            last = f.readline()
        self.assertTrue(last.startswith(b"354"), last)
        return s, f

    def test_a_line_without_end(self):
        """ENDLESS_MB without a line end, on each protocol and in a message: an error or a closed connection, and no memory."""
        before, limit = memory(self.demo.pids()), int(os.environ.get("ENDLESS_MB", "300")) * MEGABYTE
        for service in ("smtp", "imap", "pop3", "data"):
            with self.subTest(service):
                s = self.begin_data()[0] if service == "data" else self.connect(service)
                s.settimeout(30)
                chunk, sent, began = b"A" * MEGABYTE, 0, time.monotonic()
                with contextlib.suppress(OSError):
                    while sent < limit:
                        sent += s.send(chunk)
                grown = memory(self.demo.pids()) - before
                print(f"{service}: {sent >> 20} MB taken in {time.monotonic() - began:.1f} s, memory {grown >> 10:+} KB")
                self.assertLess(grown, 64 * MEGABYTE)
                self.assertLess(self.others_are_served(), 10)

    def test_data_without_end_and_too_large(self):
        s, f = self.begin_data()
        before = memory(self.demo.pids())
        block = (b"y" * 76 + b"\r\n") * 13443  # a megabyte
        with contextlib.suppress(OSError):
            for _ in range(300):
                s.sendall(block)
            s.sendall(b".\r\n")
            self.assertTrue(f.readline().startswith(b"552"))
        self.assertLess(memory(self.demo.pids()) - before, 128 * MEGABYTE)
        self.assertLess(self.others_are_served(), 10)

    def test_thousands_half_open(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(10000, hard - 500)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))
        opened = []
        try:
            for i in range(count):
                s = socket.socket()
                s.settimeout(5)
                s.bind((f"127.0.{1 + i % 100}.1", 0))  # many clients, so that it is not the limit for one address that answers
                with contextlib.suppress(OSError):
                    s.connect(("127.0.0.1", self.demo.port(("imap", "imaps", "smtp", "submissions")[i % 4])))
                opened.append(s)
            self.assertLess(self.others_are_served(), 20)
        finally:
            for s in opened:
                s.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.assertLess(self.others_are_served(), 10)

    def test_never_reads_a_large_fetch(self):
        with self.demo.imap() as c:
            c.create("Large")
            big = b"Subject: big\r\n\r\n" + b"z" * 70 * 1024 * 256
            big = b"Subject: big\r\n\r\n" + (b"z" * 70 + b"\r\n") * (20 * MEGABYTE // 72)
            for _ in range(5):
                self.assertEqual(c.append("Large", None, None, big)[0], "OK")
        before = memory(self.demo.pids())
        readers = []
        for _ in range(20):  # 20 times 2 GB asked for, nothing read
            s = self.connect("imap")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(f"a LOGIN {CAROLYN} {PASSWORD}\r\nb SELECT Large\r\n".encode())
            s.sendall(b"".join(b"c%d FETCH 1:* BODY.PEEK[]\r\n" % i for i in range(20)))
            readers.append(s)
        time.sleep(2)
        self.assertLess(memory(self.demo.pids()) - before, 200 * MEGABYTE)
        self.assertLess(self.others_are_served(), 10)

    def test_endless_commands_are_cut_off(self):
        for service, line in (("smtp", b"NONSENSE\r\n"), ("pop3", b"NONSENSE\r\n"), ("imap", b"x NONSENSE\r\n")):
            with self.subTest(service):
                s = self.connect(service)
                s.settimeout(20)
                received = b""
                with contextlib.suppress(OSError):
                    s.sendall(line * 2000)
                    while data := s.recv(65536):
                        received += data
                self.assertGreater(len(received), 50)
                self.assertLess(received.count(b"\n"), 1000, "the session was not ended")

    def test_passwords_are_throttled(self):
        for _ in range(30):
            try:
                c = imaplib.IMAP4("127.0.0.1", self.demo.port("imap"), timeout=30)
                c.login("elinor@abcd.com", "wrong")
            except (imaplib.IMAP4.error, OSError):
                pass
        self.assertLess(self.others_are_served(), 15, "guessing one account's password must not stop another's mail")

    def test_starttls_injection(self):
        for service, command, injected in (("smtp", b"STARTTLS\r\n", b"NOOP\r\n"), ("pop3", b"STLS\r\n", b"NOOP\r\n"), ("imap", b"a STARTTLS\r\n", b"b NOOP\r\n")):
            with self.subTest(service):
                s = self.connect(service)
                s.settimeout(10)
                s.recv(4096)
                if service == "smtp":
                    s.sendall(b"EHLO abcd.com\r\n")
                    time.sleep(0.2)
                    s.recv(4096)
                s.sendall(command + injected)
                import ssl
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                reply = s.recv(4096)
                self.assertEqual(reply.count(b"\n"), 1, reply)
                with contextlib.suppress(OSError):  # either the handshake works and the injected command is gone, or the connection is closed
                    t = context.wrap_socket(s)
                    t.settimeout(1)
                    with contextlib.suppress(TimeoutError):
                        self.assertNotIn(b"OK", t.recv(4096))

    def test_smuggled_end_of_data(self):
        for end in (b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\n\x00.\r\n"):
            with self.subTest(end):
                s = self.connect("smtp")
                f = s.makefile("rwb")
                f.readline()
                word = uuid.uuid4().hex
                for line in (b"EHLO abcd.com", b"MAIL FROM:<elinor@abcd.com>", b"RCPT TO:<carolyn@xyz.com>", b"DATA"):
                    f.write(line + b"\r\n")
                    f.flush()
                    while (reply := f.readline())[3:4] == b"-":
                        pass
                f.write(b"Subject: first\r\n\r\nx" + end + b"MAIL FROM:<elinor@abcd.com>\r\nRCPT TO:<carolyn@xyz.com>\r\nDATA\r\nSubject: " + word.encode()
                        + b"\r\n\r\nsmuggled\r\n.\r\nQUIT\r\n")
                f.flush()
                self.assertEqual(reply[:3], b"354")
                f.read()
                with self.demo.imap() as c:
                    c.select("INBOX", readonly=True)
                    self.assertEqual(c.search(None, "SUBJECT", word)[1], [b""], f"{end!r} ended the data")


if __name__ == "__main__":
    unittest.main()
