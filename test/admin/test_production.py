"""`postrider setup` and `serve` as root would use them, with other ports and on loopback: the server runs unprivileged behind its sandbox, and the
supervisor starts it again when it dies."""
import os
import pathlib
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time
import unittest

from peers import free_port, wait_port
from postrider import PROGRAM, run


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def status(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


@unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
class Production(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postrider-production-"))
        self.folder.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.conf = self.folder / "postrider.conf"
        run([PROGRAM, "setup", "mail.example.org", "you@example.org", "--config", self.conf, "--data", self.folder / "data", "--password-stdin"],
            text="a long secret\n")
        text = self.conf.read_text().replace('user = "postrider"', 'user = "nobody"')
        text = re.sub(r'listen "[^"]*-ipv6" \{[^}]*\}', "", text).replace('"0.0.0.0"', '"127.0.0.1"')
        self.ports = {}
        for port in set(re.findall(r"port = (\d+)", text)):
            self.ports[port] = free_port()
            text = text.replace(f"port = {port}\n", f"port = {self.ports[port]}\n")
        self.conf.write_text(text)

    def server(self):
        found = children(self.process.pid)
        return found[0] if found else None

    def test_exposed_key_is_told(self):
        key = self.folder / "tls/key.pem"
        key.chmod(0o644)
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen([PROGRAM, "serve", "--config", self.conf], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_port(self.ports["25"])
            warnings = [x for x in (self.folder / "log").read_text().splitlines() if "server.key_exposed" in x]
            self.assertEqual(len(warnings), 1, "once, and not of the copies that the server gets")
            self.assertIn(str(key), warnings[0])
        finally:
            self.process.terminate()
            self.process.wait(20)

    def test_unprivileged_and_restarted(self):
        run([PROGRAM, "check", "--config", self.conf])
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen([PROGRAM, "serve", "--config", self.conf], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_port(self.ports["25"])
            facts = status(self.server())
            self.assertNotIn("0", facts["Uid"].split())
            self.assertEqual(int(facts["CapEff"], 16), 0)
            self.assertEqual((facts["NoNewPrivs"], facts["Seccomp"]), ("1", "2"))
            with smtplib.SMTP("127.0.0.1", self.ports["25"], timeout=20) as s:
                s.sendmail("a@elsewhere.test", ["you@example.org"], "Subject: in\r\n\r\nhi\r\n")
                with self.assertRaises(smtplib.SMTPRecipientsRefused):
                    s.sendmail("a@elsewhere.test", ["b@other.test"], "Subject: relay\r\n\r\nhi\r\n")
            first = self.server()
            os.kill(first, signal.SIGKILL)
            end = time.monotonic() + 20
            while self.server() in (None, first) and time.monotonic() < end:
                time.sleep(0.05)
            wait_port(self.ports["25"])
            self.assertNotEqual(self.server(), first)
            listing = run([PROGRAM, "mailbox", "status", "you@example.org", "INBOX", "--config", self.conf]).stdout
            self.assertRegex(listing, r"messages\s+1\b")
            run([PROGRAM, "reload", "--config", self.conf])
            run([PROGRAM, "stop", "--config", self.conf])
            self.assertEqual(self.process.wait(20), 0)
        finally:
            if self.process.poll() is None:
                self.process.terminate()
                self.process.wait(20)


if __name__ == "__main__":
    unittest.main()
