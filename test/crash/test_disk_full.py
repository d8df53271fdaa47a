"""A full disk: clear temporary refusals on every way in, nothing acknowledged is lost, and all goes on when there is room again."""
import os
import pathlib
import smtplib
import subprocess
import tempfile
import time
import unittest
import uuid

from postrider import Demo, make_message


@unittest.skipUnless(os.geteuid() == 0, "a file system of limited size is mounted by root only")
class DiskFull(unittest.TestCase):
    def setUp(self):
        self.mount = pathlib.Path(tempfile.mkdtemp(prefix="postrider-full-"))
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", self.mount], capture_output=True, text=True)
        if done.returncode:
            self.mount.rmdir()
            self.skipTest(f"cannot mount: {done.stderr.strip()}")
        self.addCleanup(self.mount.rmdir)
        self.addCleanup(subprocess.run, ["umount", "-l", self.mount])

    def fill(self):
        with open(self.mount / "ballast", "wb", buffering=0) as f:
            try:
                while f.write(b"\0" * (1 << 16)):
                    pass
            except OSError:
                pass

    def send(self, demo, word):
        with demo.smtp() as s:
            s.send_message(make_message(word, body="line\n" * 2000))

    def refused(self, demo):
        try:
            self.send(demo, "full")
        except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as e:
            return e.smtp_code
        except smtplib.SMTPRecipientsRefused as e:
            return next(iter(e.recipients.values()))[0]
        return 250

    def test_refuses_and_recovers(self):
        (self.mount / "data").mkdir()
        with Demo(directory=self.mount / "data") as demo:
            before = uuid.uuid4().hex
            self.send(demo, before)
            self.fill()
            time.sleep(1)  # the engine looks at the room twice a second
            codes = [self.refused(demo) for _ in range(5)]
            self.assertTrue(all(400 <= c < 500 for c in codes), codes)
            with demo.imap() as c:
                status, answer = c.append("INBOX", None, None, b"Subject: full\r\n\r\n" + b"x" * 10000)
                self.assertEqual(status, "NO", answer)
                c.select("INBOX")
                self.assertIn(before.encode(), c.fetch("1", "(BODY.PEEK[])")[1][0][1], "reading goes on")
            (self.mount / "ballast").unlink()
            after, end = uuid.uuid4().hex, time.monotonic() + 60
            while self.refused(demo) != 250 and time.monotonic() < end:
                time.sleep(1)
            self.send(demo, after)
            demo.wait_for(after)
            demo.wait_for(before)
            with demo.imap() as c:
                _, count = c.select("INBOX")
                self.assertEqual(len(c.search(None, "SUBJECT", "full")[1][0].split()), 1, "what was refused is not there")
            self.assertEqual(demo.command("fsck").returncode, 0)
            demo.kill()
            demo.start()
            demo.wait_for(before)
            demo.wait_for(after)


if __name__ == "__main__":
    unittest.main()
