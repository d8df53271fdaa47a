"""The dialogue of the classic lecture, typed by hand over plain connections."""
import socket
import unittest

from postrider import PASSWORD, Demo, DemoTest

MESSAGE = [
    "From: Elinor <elinor@abcd.com>",
    "To: Carolyn <carolyn@xyz.com>",
    "MIME-Version: 1.0",
    "Message-Id: <0704760941.AA00747@abcd.com>",
    "Content-Type: multipart/alternative; boundary=qwertyuiopasdfghjklzxcvbnm",
    "Subject: Earth orbits sun integral number of times",
    "",
    "This is the preamble. The user agent ignores it. Have a nice day.",
    "",
    "--qwertyuiopasdfghjklzxcvbnm",
    "Content-Type: text/html",
    "",
    "<p>Happy birthday to you",
    "Happy birthday dear <b> Carolyn </b>",
    "Happy birthday to you",
    "",
    "--qwertyuiopasdfghjklzxcvbnm",
    "Content-Type: message/external-body; access-type=\"anon-ftp\"; site=\"bicycle.abcd.com\"; directory=\"pub\"; name=\"birthday.snd\"",
    "",
    "content-type: audio/basic",
    "content-transfer-encoding: base64",
    "--qwertyuiopasdfghjklzxcvbnm",
]


class Typed:
    """A plain connection, a line at a time, as a person with telnet has it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.socket.makefile("rwb")

    def read(self):
        line = self.file.readline()
        assert line.endswith(b"\r\n"), line
        return line[:-2].decode()

    def type(self, line):
        self.file.write(line.encode() + b"\r\n")
        self.file.flush()

    def ask(self, line):
        self.type(line)
        return self.read()

    def ended(self):
        return self.file.read(1) == b""

    def close(self):
        self.file.close()
        self.socket.close()


class Lecture(DemoTest):
    def send(self):
        c = Typed(self.demo.port("smtp"))
        self.addCleanup(c.close)
        codes = [c.read()[:4]]
        for line in ("HELO abcd.com", "MAIL FROM:<elinor@abcd.com>", "RCPT TO:<carolyn@xyz.com>", "DATA"):
            codes.append(c.ask(line)[:4])
        for line in MESSAGE:
            c.type(line)
        codes.append(c.ask(".")[:4])
        codes.append(c.ask("QUIT")[:4])
        self.assertTrue(c.ended())
        self.assertEqual(codes, ["220 ", "250 ", "250 ", "250 ", "354 ", "250 ", "221 "])

    def fetch(self, user):
        c = Typed(self.demo.port("pop3"))
        self.addCleanup(c.close)
        self.assertTrue(c.read().startswith("+OK"))
        self.assertTrue(c.ask(f"USER {user}").startswith("+OK"))
        self.assertTrue(c.ask(f"PASS {PASSWORD}").startswith("+OK"))
        self.assertTrue(c.ask("LIST").startswith("+OK"))
        listing = []
        while (line := c.read()) != ".":
            listing.append(line)
        self.assertEqual(len(listing), 1)
        number, size = listing[0].split()
        self.assertTrue(c.ask(f"RETR {number}").startswith("+OK"))
        lines = []
        while (line := c.read()) != ".":
            lines.append(line)
        self.assertEqual(sum(len(x) + 2 for x in lines), int(size))
        self.assertEqual(lines[-len(MESSAGE):], MESSAGE, "bytes out are bytes in")
        head = lines[:-len(MESSAGE)]
        self.assertTrue(head[0].startswith("Return-Path: <elinor@abcd.com>"), head)
        self.assertTrue(any(x.startswith("Received: from abcd.com") for x in head), head)
        self.assertTrue(c.ask(f"DELE {number}").startswith("+OK"))
        self.assertTrue(c.ask("QUIT").startswith("+OK"))
        self.assertTrue(c.ended())
        c = Typed(self.demo.port("pop3"))
        self.addCleanup(c.close)
        c.read()
        c.ask(f"USER {user}"), c.ask(f"PASS {PASSWORD}")
        self.assertTrue(c.ask("STAT").startswith("+OK 0 0"))

    def test_without_the_domain_in_the_user_name(self):
        self.send()
        self.fetch("carolyn")

    def test_with_the_domain_in_the_user_name(self):
        self.send()
        self.fetch("carolyn@xyz.com")

    def test_mail_of_the_first_start_is_found_by_the_second(self):
        with Demo() as demo:
            demo.send("kept over a restart")
            self.assertEqual(demo.stop(), 0)
            demo.start()
            self.assertIn(b"kept over a restart", demo.wait_for("kept over a restart"))


if __name__ == "__main__":
    unittest.main()
