"""Mail to programs: a production server whose configuration routes domains to programs, which its supervisor runs."""
import contextlib
import email
import os
import pathlib
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
import unittest

from peers import free_port, wait_port
from postrider import PROGRAM, Demo, run

PROGRAMS = {
    # what it gets, whole, and what it knows
    "keep": 'cat > "$OUT/new.$$" && env > "$OUT/env.new" && mv "$OUT/env.new" "$OUT/env" && mv "$OUT/new.$$" "$OUT/kept"; echo thanks',
    "unknown": "echo '5.1.6 moved to another planet' >&2; echo more >&2; exit 67",
    "busy": 'echo x >> "$OUT/busy"; [ $(wc -l < "$OUT/busy") -ge 2 ] || exit 75',
    "hang": 'echo x >> "$OUT/hang"; sleep 1000',
    "flood": 'exec 2>&1; timeout 3 yes; echo x >> "$OUT/flood"; exit 65',
    "deaf": "exit 0",  # reads nothing of a large message
}
TIMES = {"hang": "1s"}


class Gateway:
    def __init__(self, demo):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="postrider-gateway-"))
        self.directory.chmod(0o755)
        (self.directory / "data").mkdir()
        self.out = self.directory / "out"
        self.out.mkdir()
        self.out.chmod(0o777)
        self.port, self.mx_port = free_port(), free_port()
        (self.directory / "clients").write_text("127.0.0.0/8 from=* to=* rate=1000/60\n")
        text = f"""
global {{ hostname = "gateway.test" directory = "{self.directory}/data" user = "" }}
submission {{ relay_clients = "{self.directory}/clients" }}
queue {{ retry_first = 1s host_pause = 500ms }}
listen "relay" {{ protocol = "submission" address = "127.0.0.1" port = {self.port} }}
listen "mx" {{ protocol = "smtp" address = "127.0.0.1" port = {self.mx_port} }}
route "*" {{ host = "127.0.0.1" port = {demo.port("smtp")} }}
"""
        for name, script in PROGRAMS.items():
            path = self.directory / name
            path.write_text(f"#!/bin/sh\nOUT={self.out}\n{script}\n")
            path.chmod(0o755)
            text += f'program "{name}" {{ command = {{"{path}"}} timeout = {TIMES.get(name, "20s")} }}\n'
            text += f'route "{name}.test" {{ program = "{name}" }}\n'
        (self.directory / "postrider.conf").write_text(text)

    def __enter__(self):
        self.log = self.directory / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([PROGRAM, "serve", "--config", self.directory / "postrider.conf"], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log)
        try:
            wait_port(self.port)
        except RuntimeError as e:
            self.process.kill()
            raise RuntimeError(f"{e}: {self.log.read_text()}") from None
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def send(self, to, message, options=()):
        with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as s:
            s.ehlo()
            s.sendmail("user1@c.test", [to], message, rcpt_options=options)

    def command(self, *words):
        run([PROGRAM, *words, "--config", self.directory / "postrider.conf"])

    def until(self, condition, what, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {seconds} s\n{self.log.read_text()[-3000:]}")


def message(subject, body):
    return (f"From: user1@c.test\r\nTo: x@y.test\r\nSubject: {subject}\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n"
            f"Message-ID: <{subject}@c.test>\r\n\r\n").encode() + body


class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.demo = Demo("--domain", "c.test", "--accounts", "1", "--password", "secret").start()
        cls.addClassCleanup(cls.demo.__exit__)
        cls.gateway = Gateway(cls.demo).__enter__()
        cls.addClassCleanup(cls.gateway.__exit__)

    def test_byte_for_byte(self):
        for size in (100, 3_000_000):
            body = b".\r\n..\r\nFrom here\r\n" + b"\xe4\xf6\xfc 8 bits\r\n" * (size // 13) + b"end\r\n"
            (self.gateway.out / "kept").unlink(missing_ok=True)
            self.gateway.send("555+detail@keep.test", message("keep", body))
            self.gateway.until((self.gateway.out / "kept").exists, "the program has run")
            got = (self.gateway.out / "kept").read_bytes()
            self.assertTrue(got.startswith(b"Received: "))
            self.assertEqual(got.partition(b"\r\n\r\n")[2], body)
        known = dict(line.split("=", 1) for line in (self.gateway.out / "env").read_text().splitlines() if "=" in line)
        self.assertEqual((known["SENDER"], known["RECIPIENT"], known["USER"], known["DOMAIN"], int(known["SIZE"])),
                         ("user1@c.test", "555+detail@keep.test", "555+detail", "keep.test", len(got)))
        self.assertNotIn("POSTRIDER", known)
        if os.geteuid() == 0:
            self.assertNotEqual((self.gateway.out / "kept").stat().st_uid, 0)

    def test_a_program_that_reads_nothing(self):
        self.gateway.send("a@deaf.test", message("deaf", b"x" * 70 + b"\r\n" + b"y\r\n" * 500_000), ["NOTIFY=SUCCESS"])
        self.gateway.until(lambda: "result=relayed" in self.lines_of("a@deaf.test"), "delivery")

    def test_strangers_need_an_alias(self):
        kept = self.gateway.out / "kept"
        kept.unlink(missing_ok=True)
        self.gateway.command("domain", "add", "here.test")
        self.gateway.command("alias", "add", "fax@here.test", "555@keep.test")
        with smtplib.SMTP("127.0.0.1", self.gateway.mx_port, timeout=20) as s:
            with self.assertRaises(smtplib.SMTPRecipientsRefused):
                s.sendmail("stranger@else.test", ["555@keep.test"], message("direct", b"no\r\n"))
            s.sendmail("stranger@else.test", ["fax@here.test"], message("alias", b"yes\r\n"))
        self.gateway.until(kept.exists, "the program has run")
        self.assertTrue(kept.read_bytes().endswith(b"\r\n\r\nyes\r\n"))

    def test_refused(self):
        self.gateway.send("someone@unknown.test", message("word-refused", b"hi\r\n"))
        self.gateway.until(lambda: "result=failed" in self.lines_of("someone@unknown.test"), "refusal")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with self.demo.imap("user1@c.test", "secret") as client:
                client.select("INBOX", readonly=True)
                _, found = client.search(None, "TEXT", '"someone@unknown.test"')
                if found[0]:
                    _, data = client.fetch(found[0].split()[-1], "(BODY.PEEK[])")
                    status = [p for p in email.message_from_bytes(data[0][1]).walk() if p.get_content_type() == "message/delivery-status"]
                    self.assertEqual(status[0].get_payload()[1]["Status"], "5.1.6")
                    self.assertIn(b"5.1.6 moved to another planet", data[0][1])
                    return
            time.sleep(0.2)
        self.fail("no report")

    def test_tried_again(self):
        self.gateway.send("a@busy.test", message("busy", b"hi\r\n"))
        self.gateway.until(lambda: "result=relayed" in self.lines_of("a@busy.test"), "second try")
        self.assertEqual((self.gateway.out / "busy").read_text(), "x\n" * 2)

    def test_hangs(self):
        self.gateway.send("a@hang.test", message("hang", b"hi\r\n"))
        self.gateway.until(lambda: "did not end in time" in self.lines_of("a@hang.test"), "end by the clock")

    def test_prints_endlessly(self):
        self.gateway.send("a@flood.test", message("flood", b"hi\r\n"))
        self.gateway.until(lambda: "result=failed" in self.lines_of("a@flood.test"), "end of the flood")
        self.assertLess(len(self.lines_of("a@flood.test")), 2000)

    def lines_of(self, address):
        return "\n".join(line for line in self.gateway.log.read_text().splitlines() if "queue.delivery" in line and f"to={address}" in line)


class Stopping(unittest.TestCase):
    def test_a_server_that_stops_waits_for_no_program(self):
        with Demo("--domain", "c.test", "--accounts", "1", "--password", "secret") as demo:
            TIMES["hang"] = "10m"
            try:
                gateway = Gateway(demo)
            finally:
                TIMES["hang"] = "1s"
            with gateway:
                gateway.send("a@hang.test", message("hang", b"hi\r\n"))
                gateway.until((gateway.out / "hang").exists, "the program runs")
                gateway.process.send_signal(signal.SIGTERM)
                self.assertEqual(gateway.process.wait(60), 0)
                self.assertNotIn("does_not_stop", gateway.log.read_text())


if __name__ == "__main__":
    unittest.main()
