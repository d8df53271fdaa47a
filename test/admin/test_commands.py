"""The command line, against a running demo server and against a stopped one."""
import json
import mailbox
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from postrider import CAROLYN, ELINOR, PROGRAM, ROOT, Demo, DemoTest, make_message


def invoke(*words, text=None, timeout=120):
    return subprocess.run([str(PROGRAM), *map(str, words)], input=text, capture_output=True, text=True, timeout=timeout)


class Base(DemoTest):
    def do(self, *words, code=0, text=None):
        """Runs a command against the demo's directory; checks the exit code."""
        done = invoke(*words, "--dir", self.demo.directory, text=text)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, *words, code=0, text=None):
        return json.loads(self.do(*words, "--json", code=code, text=text))


class Commands(Base):
    def test_ready_line(self):
        ready = self.demo.ready
        self.assertEqual(ready["ports"]["smtp"], self.demo.base + 25)
        self.assertEqual(ready["ports"]["https"], self.demo.base + 8443)
        self.assertEqual(pathlib.Path(ready["dir"]), self.demo.directory.resolve())
        os.kill(ready["pid"], 0)

    def test_account_life(self):
        address = "life@xyz.com"
        made = self.ask("account", "add", address, "--name", "Life", "--quota", "10M", "--password-stdin", text="first secret\n")
        self.assertEqual((made["address"], made["name"], made["quota_bytes"]), (address, "Life", 10 << 20))
        self.do("account", "add", address, "--password-stdin", text="x\n", code=4)
        self.assertIn(address, [a["address"] for a in self.ask("account", "list")])
        self.assertEqual([a["address"] for a in self.ask("account", "list", "abcd.com")], [ELINOR])
        self.demo.imap(address, "first secret").logout()
        self.do("account", "password", address, "--password-stdin", text="second secret\n")
        with self.assertRaises(Exception):
            self.demo.imap(address, "first secret")
        self.demo.imap("life", "second secret").logout()
        self.do("account", "suspend", address)
        with self.assertRaises(Exception):
            self.demo.imap(address, "second secret")
        with self.demo.smtp() as s:
            s.helo("x")
            s.mail(ELINOR)
            self.assertEqual(s.rcpt(address)[0], 450)
        self.do("account", "close", address)
        with self.demo.smtp() as s:
            s.helo("x")
            s.mail(ELINOR)
            self.assertEqual(s.rcpt(address)[0], 550)
        self.do("account", "resume", address)
        self.demo.imap(address, "second secret").logout()
        self.do("account", "quota", address, "--quota", "1G", "--quota-messages", "7")
        shown = self.ask("account", "show", address)
        self.assertEqual((shown["quota_bytes"], shown["quota_messages"], shown["messages_used"]), (1 << 30, 7, 0))
        self.do("account", "remove", address, code=2)
        self.do("account", "remove", address, "--yes")
        self.do("account", "show", address, code=3)
        with self.demo.smtp() as s:
            s.helo("x")
            s.mail(ELINOR)
            self.assertEqual(s.rcpt(address)[0], 550)

    def test_hash_of_another_server(self):
        # SSHA of "pencil"
        self.do("account", "add", "moved@xyz.com", "--hash", "{SSHA}dFWAdLXeDBTj01WbdotiS4s3zKlzYWx0")
        self.demo.imap("moved@xyz.com", "pencil").logout()
        self.do("account", "add", "moved2@xyz.com", "--hash", "nonsense", code=1)

    def test_aliases_and_domains(self):
        self.do("domain", "add", "new.example", "--catch-all", CAROLYN)
        self.do("domain", "add", "again.example", "--alias-of", "xyz.com")
        names = {d["name"]: d for d in self.ask("domain", "list")}
        self.assertEqual(names["new.example"]["catch_all"], CAROLYN)
        self.assertTrue(names["abcd.com"]["default"])
        self.do("alias", "add", "team@new.example", CAROLYN, ELINOR)
        self.assertEqual(self.ask("alias", "list", "new.example"), [{"address": "team@new.example", "targets": [CAROLYN, ELINOR]}])
        self.demo.send("to the team", to="team@new.example")
        self.demo.wait_for("to the team", user=CAROLYN)
        self.demo.wait_for("to the team", user=ELINOR)
        self.demo.send("caught", to="whoever@new.example")
        self.demo.wait_for("caught")
        self.demo.send("also mine", to="carolyn@again.example")
        self.demo.wait_for("also mine")
        self.do("domain", "remove", "new.example", code=4)
        self.do("alias", "remove", "team@new.example")
        self.do("alias", "remove", "team@new.example", code=3)
        self.do("domain", "remove", "new.example")
        self.do("domain", "remove", "abcd.com", code=4)
        self.do("alias", "add", "x@nowhere.example", CAROLYN, code=3)

    def test_usage(self):
        self.assertEqual(invoke().returncode, 2)
        self.assertEqual(invoke("nonsense").returncode, 2)
        self.assertEqual(invoke("account", "add").returncode, 2)
        self.assertEqual(invoke("account", "list", "--nonsense").returncode, 2)
        self.assertEqual(invoke("account", "list", "--dir", "/nonexistent").returncode, 3)
        whole = invoke("--help").stdout
        for command in ("demo", "serve", "setup", "mailbox import", "queue hold", "fsck", "imap"):
            self.assertIn(f"\n  {command}", whole)
            self.assertIn("usage: postrider " + command, invoke(*command.split(), "--help").stdout)
        self.assertIn("recipients_max", invoke("help", "settings").stdout)
        self.assertEqual(invoke("--version").stdout.split()[0], "postrider")

    def test_status_reload_metrics(self):
        status = self.ask("status")
        self.assertTrue(status["running"])
        self.assertEqual({x["name"] for x in status["listeners"]} >= {"smtp", "imap", "pop3", "submission"}, True)
        self.do("reload")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.demo.port('http')}/metrics", timeout=10) as r:
            self.assertIn(b"postrider_connections_total", r.read())
        context = ssl.create_default_context(cafile=self.demo.directory / "tls/chain.pem")
        with urllib.request.urlopen(f"https://localhost:{self.demo.port('https')}/health", timeout=10, context=context) as r:
            self.assertEqual(r.read(), b"ok\n")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{self.demo.port('http')}/", timeout=10)
        self.assertEqual(refused.exception.code, 404)
        refused.exception.close()

    def test_imap_on_standard_input(self):
        self.demo.send("read by pipe")
        self.demo.wait_for("read by pipe")
        done = invoke("imap", "--user", "carolyn", "--dir", self.demo.directory,
                      text='a SELECT INBOX\r\nb SEARCH SUBJECT "read by pipe"\r\nc LOGOUT\r\n')
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertTrue(lines[0].startswith("* PREAUTH"), lines)
        self.assertTrue(any(x.startswith("b OK") for x in lines), lines)
        self.assertTrue(any(x.startswith("* SEARCH ") for x in lines), lines)
        self.assertEqual(invoke("imap", "--user", "nobody", "--dir", self.demo.directory).returncode, 3)

    def test_administration_is_for_the_owner(self):
        mode = (self.demo.directory / "admin.sock").stat().st_mode & 0o777
        self.assertEqual(mode, 0o600)

    def test_protocol_takes_no_nonsense(self):
        for text in (b"nonsense\n", b"{}\n", b'{"do": "nothing"}\n', b'{"do": 7}\n', b"[" * 5000 + b"\n", b"x" * 70000):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20)
                s.connect(str(self.demo.directory / "admin.sock"))
                s.sendall(text)
                answer = b""
                while chunk := s.recv(4096):
                    answer += chunk
                self.assertIn(b'{"error":', answer, text[:40])
        self.assertTrue(self.ask("status")["running"])


class Queue(Base):
    """Mail for another domain, relayed to a port where nobody listens."""
    options = ("--relay", "127.0.0.1:1")

    def entries(self):
        return self.ask("queue", "list")

    def submit(self, subject, to):
        message = make_message(subject, to)
        with self.demo.smtp() as s:
            s.send_message(message)

    def test_queue(self):
        self.submit("first", "a@far.example")
        self.submit("second", "b@other.example")
        entries = self.entries()
        self.assertEqual(len(entries), 2)
        self.assertEqual({e["destination"] for e in entries}, {"far.example", "other.example"})
        self.assertEqual(len(self.ask("queue", "list", "--limit", "1")), 1)
        one = next(e for e in entries if e["destination"] == "far.example")
        self.assertEqual(self.ask("queue", "list", "--domain", "far.example")[0]["id"], one["id"])
        self.assertIn("a@far.example", self.do("queue", "show", one["id"]))
        self.assertIn("Subject: first", self.do("queue", "show", one["id"], "--message"))
        self.do("queue", "show", "nonsense.1", code=1)
        self.do("queue", "show", "0" * 18 + ".1", code=3)
        self.do("queue", "hold", one["id"])
        self.assertEqual([e["id"] for e in self.ask("queue", "list", "--held")], [one["id"]])
        self.do("queue", "release", one["id"])
        self.assertEqual(self.ask("queue", "list", "--held"), [])
        self.do("queue", "retry", "--all")
        self.do("queue", "retry", code=2)
        self.do("queue", "drop", one["id"])
        self.assertEqual(len(self.entries()), 1)
        self.assertEqual(self.ask("queue", "drop", "--sender", ELINOR)["count"], 1)
        self.assertEqual(self.entries(), [])


class ImportExport(Base):
    COUNT = 300

    def messages(self):
        for i in range(self.COUNT):
            yield f"From: a@example.org\nTo: {CAROLYN}\nSubject: message {i}\nX-Odd: ä\n\nbody {i}\nFrom here\n>From there\n\n" + "x" * (i * 7 % 500) + "\n"

    def make_maildir(self):
        top = self.work / "maildir"
        for folder in ("", ".Sent", ".Lists.2024"):
            for sub in ("cur", "new", "tmp"):
                (top / folder / sub).mkdir(parents=True, exist_ok=True)
        (top / "dovecot-keywords").write_text("0 Work\n1 $Label1\n")
        for i, text in enumerate(self.messages()):
            folder = ("", ".Sent", ".Lists.2024")[i % 3]
            flags = "".join(c for j, c in enumerate("DFRST") if i >> j & 1)
            if folder == "":
                flags += "ab"[: i % 2 + i % 4 // 2]
            path = top / folder / "cur" / f"{1500000000 + i}.M{i}.host:2,{flags}"
            path.write_text(text)
            os.utime(path, (1500000000 + i, 1500000000 + i))
        return top

    @staticmethod
    def content(top):
        found = []
        for path in pathlib.Path(top).rglob("cur/*"):
            found.append((str(path.parent.parent.relative_to(top)), path.read_bytes(), path.name.rsplit(":2,")[1], int(path.stat().st_mtime)))
        return sorted(found)

    def test_maildir_both_ways(self):
        self.do("account", "add", "maildir@xyz.com", "--no-password")
        top = self.make_maildir()
        done = self.ask("mailbox", "import", "maildir@xyz.com", top)
        self.assertEqual((done["imported"], done["skipped"]), (self.COUNT, 0))
        done = self.ask("mailbox", "import", "maildir@xyz.com", top)
        self.assertEqual((done["imported"], done["skipped"]), (0, self.COUNT), "a second time finds everything there")
        boxes = {b["mailbox"]: b for b in self.ask("mailbox", "list", "maildir@xyz.com")}
        self.assertEqual([boxes[b]["messages"] for b in ("INBOX", "Sent", "Lists/2024")], [self.COUNT // 3] * 3)
        self.assertEqual(set(self.ask("mailbox", "status", "maildir@xyz.com", "INBOX")["keywords"]), {"Work", "$Label1"})
        self.do("mailbox", "export", "maildir@xyz.com", self.work / "back", "--format", "maildir")
        self.assertEqual(self.content(self.work / "back"), self.content(top))

    def test_mbox_both_ways(self):
        self.do("account", "add", "mbox@xyz.com", "--no-password")
        path = self.work / "in.mbox"
        box = mailbox.mbox(path)
        for text in self.messages():
            message = mailbox.mboxMessage(text.encode())
            message.set_flags("RO" if "body 1" in text else "O")
            box.add(message)
        box.close()
        done = self.ask("mailbox", "import", "mbox@xyz.com", path, "--mailbox", "Old/Mail")
        self.assertEqual(done["imported"], self.COUNT)
        seen = sum("body 1" in text for text in self.messages())
        self.assertEqual(self.ask("mailbox", "status", "mbox@xyz.com", "Old/Mail")["unseen"], self.COUNT - seen)
        self.do("mailbox", "export", "mbox@xyz.com", self.work / "out.mbox", "--mailbox", "Old/Mail")
        self.do("mailbox", "export", "mbox@xyz.com", self.work / "out.mbox", "--mailbox", "Old/Mail", code=4)
        again = self.ask("mailbox", "import", "mbox@xyz.com", self.work / "out.mbox", "--mailbox", "Old/Mail")
        self.assertEqual((again["imported"], again["skipped"]), (0, self.COUNT), "what was exported is byte for byte what was imported")
        self.do("mailbox", "export", "mbox@xyz.com", self.work / "tree")
        self.assertTrue((self.work / "tree/Old/Mail.mbox").stat().st_size > 1000)
        self.do("mailbox", "import", "mbox@xyz.com", self.work / "missing", code=3)
        (self.work / "bad").write_text("no mbox\n")
        self.do("mailbox", "import", "mbox@xyz.com", self.work / "bad", code=1)
        self.do("mailbox", "import", "nobody@xyz.com", path, code=3)

    def test_broken_off(self):
        """The command is killed in the middle; started again, it completes without doubles."""
        self.do("account", "add", "broken@xyz.com", "--no-password")
        path = self.work / "big.mbox"
        with open(path, "w") as f:
            for i in range(20000):
                f.write(f"From x@y Mon Jul 17 02:44:{i % 60:02d} 1996\nSubject: {i}\n\n{'y' * 1000}\n\n")
        process = subprocess.Popen([str(PROGRAM), "mailbox", "import", "broken@xyz.com", path, "--dir", self.demo.directory])
        threading.Timer(0.3, process.kill).start()
        process.wait(60)
        before = self.ask("mailbox", "status", "broken@xyz.com", "INBOX")["messages"]
        done = self.ask("mailbox", "import", "broken@xyz.com", path)
        self.assertEqual(done["skipped"] + done["imported"], 20000)
        self.assertGreaterEqual(done["skipped"], before)
        self.assertEqual(self.ask("mailbox", "status", "broken@xyz.com", "INBOX")["messages"], 20000)

    def test_one_at_a_time(self):
        """A second import into the account waits for the first, and then finds everything there."""
        self.do("account", "add", "twice@xyz.com", "--no-password")
        path = self.work / "twice.mbox"
        path.write_text("".join(f"From x@y Mon Jul 17 02:44:{i % 60:02d} 1996\nSubject: {i}\n\nyes\n\n" for i in range(600)))
        command = [str(PROGRAM), "mailbox", "import", "twice@xyz.com"]
        first = subprocess.Popen([*command, "-", "--dir", self.demo.directory], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(first.kill)
        text = path.read_bytes()
        first.stdin.write(text[:len(text) // 2])
        first.stdin.flush()
        end = time.monotonic() + 20
        while self.ask("mailbox", "status", "twice@xyz.com", "INBOX")["messages"] == 0 and time.monotonic() < end:
            time.sleep(0.05)  # until the first batch is in
        second = subprocess.Popen([*command, path, "--json", "--dir", self.demo.directory], stdout=subprocess.PIPE)
        self.addCleanup(second.kill)
        with self.assertRaises(subprocess.TimeoutExpired):
            second.wait(1)
        first.stdin.write(text[len(text) // 2:])
        first.stdin.close()
        self.assertEqual(first.wait(30), 0)
        done = json.loads(second.communicate(timeout=30)[0])
        self.assertEqual((done["imported"], done["skipped"]), (0, 600))
        self.assertEqual(self.ask("mailbox", "status", "twice@xyz.com", "INBOX")["messages"], 600)


class OffLine(unittest.TestCase):
    """Everything works without a server too, and a backup of a running one can be restored."""

    def setUp(self):
        self.demo = Demo()
        self.demo.start()
        self.addCleanup(self.demo.__exit__)

    def do(self, *words, code=0, text=None, directory=None):
        done = invoke(*words, "--dir", directory or self.demo.directory, text=text)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def test_stopped(self):
        self.demo.send("before the stop")
        self.demo.wait_for("before the stop")
        self.do("stop")
        self.assertEqual(self.demo.process.wait(20), 0)
        self.do("status", code=3)
        self.do("account", "add", "quiet@xyz.com", "--password-stdin", text="sssh sssh\n")
        self.assertEqual(len(json.loads(self.do("account", "list", "--json"))), 3)
        self.assertEqual(json.loads(self.do("fsck", "--blobs", "--json"))["findings"], 0)
        self.assertIn("* PREAUTH", self.do("imap", "--user", CAROLYN, text="a LOGOUT\r\n"))
        self.do("mailbox", "export", CAROLYN, self.demo.directory / "x.mbox", "--mailbox", "INBOX")
        self.assertIn("before the stop", (self.demo.directory / "x.mbox").read_text())
        self.demo.process.stdout.close()
        self.demo.start()
        self.demo.imap("quiet@xyz.com", "sssh sssh").logout()

    def test_backup_and_restore(self):
        self.demo.send("saved")
        self.demo.wait_for("saved")
        self.do("backup", self.demo.directory / "copy")
        self.do("backup", self.demo.directory / "copy", code=4)
        self.demo.send("after the backup")
        self.demo.wait_for("after the backup")
        self.do("restore", self.demo.directory / "copy", code=4)
        self.demo.stop()
        (self.demo.directory / "store").rename(self.demo.directory / "lost")
        self.do("restore", self.demo.directory / "copy")
        self.assertEqual(json.loads(self.do("fsck", "--blobs", "--json"))["findings"], 0)
        self.demo.start()
        self.demo.wait_for("saved")
        with self.demo.imap() as client:
            client.select("INBOX")
            self.assertEqual(client.search(None, "SUBJECT", '"after the backup"')[1], [b""])

    def test_killed_server_comes_back(self):
        """The supervisor starts the server anew; connections wait in the meantime."""
        server = [p for p in self.demo.pids() if p != self.demo.process.pid]
        self.assertEqual(len(server), 1)
        os.kill(server[0], signal.SIGKILL)
        self.demo.send("after the kill")
        self.demo.wait_for("after the kill")
        self.assertNotEqual([p for p in self.demo.pids() if p != self.demo.process.pid], server)

    def test_two_servers_do_not_share_a_directory(self):
        second = Demo(directory=self.demo.directory)
        with self.assertRaises(RuntimeError):
            second.start()
        second.log.close()
        self.demo.send("still here")
        self.demo.wait_for("still here")


class Setup(unittest.TestCase):
    def test_setup_and_check(self):
        with tempfile.TemporaryDirectory() as top:
            conf = f"{top}/etc/postrider.conf"
            words = ("setup", "mail.example.org", "me@example.org", "--config", conf, "--data", f"{top}/data", "--password-stdin")
            done = invoke(*words, "--json", text="a long secret\n")
            self.assertEqual(done.returncode, 0, done.stderr)
            records = {(r["name"], r["type"]): r["value"] for r in json.loads(done.stdout)}
            self.assertEqual(records["example.org", "MX"], "10 mail.example.org.")
            self.assertTrue(records["example.org", "TXT"].startswith("v=spf1 "))
            self.assertTrue(records["_dmarc.example.org", "TXT"].startswith("v=DMARC1;"))
            self.assertEqual(records["_imaps._tcp.example.org", "SRV"], "0 1 993 mail.example.org.")
            self.assertFalse(any("domainkey" in name for name, _ in records), "no key was made")
            done = invoke("check", "--config", conf)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            os.chmod(f"{top}/etc/tls/key.pem", 0o644)
            done = invoke("check", "--config", conf)
            self.assertEqual(done.returncode, 0)
            self.assertIn(f"private key {top}/etc/tls/key.pem", done.stderr)
            os.chmod(f"{top}/etc/tls/key.pem", 0o600)
            self.assertEqual(invoke(*words, text="x\n").returncode, 4, "nothing is overwritten")
            self.assertEqual([a["address"] for a in json.loads(invoke("account", "list", "--config", conf, "--json").stdout)], ["me@example.org"])
            text = pathlib.Path(conf).read_text()
            for broken, word in (("port = 25\n", "port = x\n"), ('protocol = "smtp"', 'protocol = "gopher"'), ("tls/key.pem", "tls/missing.pem"),
                                 ('protocol = "smtp"', 'protocol = "lmtp"')):
                pathlib.Path(conf).write_text(text.replace(broken, word, 1))
                done = invoke("check", "--config", conf)
                self.assertNotEqual(done.returncode, 0, word)
                self.assertRegex(done.stderr, r"postrider\.conf:\d+|missing\.pem|RFC 2033")

    def test_wrong_arguments(self):
        self.assertEqual(invoke("setup", "nodots", "me@example.org", "--config", "/tmp/x/y.conf", "--password-stdin", text="x\n").returncode, 1)
        self.assertEqual(invoke("setup", "mail.example.org", "nobody", "--config", "/tmp/x/y.conf", "--password-stdin", text="x\n").returncode, 1)


class Manual(unittest.TestCase):
    def test_derived_pages_are_up_to_date(self):
        done = subprocess.run([ROOT / "script/manual", "--check"], env={**os.environ, "POSTRIDER": str(PROGRAM)}, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class ManyAccounts(unittest.TestCase):
    def test_numbered_accounts(self):
        with Demo("--domain", "many.example", "--accounts", "200", "--password", "p4ssword") as demo:
            for n in (1, 100, 200):
                demo.imap(f"user{n}@many.example", "p4ssword").logout()
            with self.assertRaises(Exception):
                demo.imap("user201@many.example", "p4ssword")
            with demo.imap("user7", "p4ssword"):
                pass
            demo.send("numbered", to="user200@many.example", sender="user1@many.example")
            with demo.imap("user200@many.example", "p4ssword") as client:
                client.select("INBOX")


if __name__ == "__main__":
    unittest.main()
