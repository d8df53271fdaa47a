"""Clients that read and synchronise mail: curl, mbsync, fetchmail, getmail, mpop, neomutt, Python's poplib and imaplib."""
import imaplib
import mailbox
import os
import poplib
import ssl
import subprocess
import threading
import time
import unittest
import uuid

from postrider import CAROLYN, ELINOR, PASSWORD, DemoTest, needs, run


def insecure():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Readers(DemoTest):
    def setUp(self):
        with self.demo.imap() as c:
            c.select("INBOX")
            c.store("1:*", "+FLAGS", r"(\Deleted)") if c.untagged_responses.get("EXISTS", [b"0"])[-1] != b"0" else None
            c.expunge()
        self.words = [uuid.uuid4().hex for _ in range(3)]
        for word in self.words:
            self.demo.send(word, body=f"body of {word}\n.leading dot\n")

    @needs("curl")
    def test_curl_pop3_and_imap(self):
        for url, extra in ((f"pop3://127.0.0.1:{self.demo.port('pop3')}/1", []), (f"pop3s://127.0.0.1:{self.demo.port('pop3s')}/1", ["-k"]),
                           (f"imap://127.0.0.1:{self.demo.port('imap')}/INBOX;MAILINDEX=1", []),
                           (f"imaps://127.0.0.1:{self.demo.port('imaps')}/INBOX;MAILINDEX=1", ["-k"])):
            with self.subTest(url):
                done = run(["curl", "-sS", *extra, "--user", f"{CAROLYN}:{PASSWORD}", url])
                self.assertIn(f"body of {self.words[0]}", done.stdout)
                self.assertIn("\n.leading dot", done.stdout)

    @needs("mbsync")
    def test_mbsync_both_ways(self):
        local = self.work / f"mbsync-{uuid.uuid4().hex}"
        local.mkdir()
        rc = self.work / "mbsyncrc"
        rc.write_text(f"""IMAPAccount p
Host 127.0.0.1
Port {self.demo.port('imap')}
User {CAROLYN}
Pass {PASSWORD}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account p

MaildirStore near
Path {local}/
Inbox {local}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
""")
        run(["mbsync", "-c", rc, "-a"])
        box = mailbox.Maildir(local / "INBOX", create=False)
        self.assertEqual(sorted(m["Subject"] for m in box), sorted(self.words))
        self.assertTrue((local / "Sent").is_dir())
        # there: a flag is set and one message is deleted; here: one message is added and one flagged
        new = uuid.uuid4().hex
        for key, message in box.iteritems():
            if message["Subject"] == self.words[0]:
                box.remove(key)
            elif message["Subject"] == self.words[1]:
                message.add_flag("F")
                box[key] = message
        added = mailbox.MaildirMessage(f"From: {CAROLYN}\nTo: {ELINOR}\nSubject: {new}\n\nadded off-line\n")
        added.set_subdir("cur")
        added.add_flag("S")
        box.add(added)
        with self.demo.imap() as c:
            c.select("INBOX")
            _, found = c.search(None, "SUBJECT", self.words[2])
            c.store(found[0], "+FLAGS", r"(\Answered)")
        run(["mbsync", "-c", rc, "-a"])
        with self.demo.imap() as c:
            c.select("INBOX")
            state = {}
            for _, data in [c.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")]:
                for item in data:
                    if isinstance(item, tuple):
                        state[item[1].decode().split(":")[1].strip()] = item[0]
        self.assertEqual(sorted(state), sorted(self.words[1:] + [new]))
        self.assertIn(rb"\Flagged", state[self.words[1]])
        self.assertIn(rb"\Seen", state[new])
        flags = {m["Subject"]: m.get_flags() for m in mailbox.Maildir(local / "INBOX", create=False)}
        self.assertIn("R", flags[self.words[2]])

    @needs("fetchmail")
    def test_fetchmail(self):
        for protocol, service in (("POP3", "pop3"), ("IMAP", "imap")):
            with self.subTest(protocol):
                rc, out = self.work / "fetchmailrc", self.work / f"fetched-{protocol}"
                rc.write_text(f"""poll 127.0.0.1 protocol {protocol} port {self.demo.port(service)} auth password
 user "{CAROLYN}" password "{PASSWORD}" sslproto "" keep fetchall mda "cat >> {out}"
""")
                rc.chmod(0o600)
                run(["fetchmail", "-f", rc, "--nosyslog", "--pidfile", self.work / "fetchmail.pid"], env={"HOME": str(self.work)})
                text = out.read_text()
                for word in self.words:
                    self.assertIn(word, text)

    @needs("getmail")
    def test_getmail(self):
        box = self.work / f"getmail-{uuid.uuid4().hex}"
        for sub in ("cur", "new", "tmp"):
            (box / sub).mkdir(parents=True)
        rc = self.work / "getmailrc"
        rc.write_text(f"""[retriever]
type = SimplePOP3Retriever
server = 127.0.0.1
port = {self.demo.port('pop3')}
username = {CAROLYN}
password = {PASSWORD}
[destination]
type = Maildir
path = {box}/
[options]
delete = true
""")
        as_other = []
        if os.geteuid() == 0:  # getmail delivers nothing as root
            run(["chown", "-R", "nobody", self.work])
            as_other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        run([*as_other, "getmail", "--rcfile", rc, "--getmaildir", self.work])
        self.assertEqual(sorted(m["Subject"] for m in mailbox.Maildir(box)), sorted(self.words))
        with self.demo.imap() as c:
            _, count = c.select("INBOX")
            self.assertEqual(count, [b"0"])

    @needs("mpop")
    def test_mpop(self):
        box = self.work / f"mpop-{uuid.uuid4().hex}"
        box.write_text("")
        run(["mpop", "--file=/dev/null", "--host=127.0.0.1", f"--port={self.demo.port('pop3')}", "--tls=on", "--tls-starttls=on", "--tls-certcheck=off",
             f"--user={CAROLYN}", f"--passwordeval=echo {PASSWORD}", "--auth=user", "--keep=on", f"--delivery=mbox,{box}",
             f"--uidls-file={self.work}/uidls"])
        self.assertEqual(sorted(m["Subject"] for m in mailbox.mbox(box)), sorted(self.words))

    @needs("neomutt")
    def test_neomutt_reads_a_message(self):
        out = self.work / "neomutt-out"
        out.unlink(missing_ok=True)
        rc = self.work / "neomuttrc"
        rc.write_text(f"""set imap_user="{CAROLYN}"
set imap_pass="{PASSWORD}"
set ssl_starttls=no
set ssl_force_tls=no
set header_cache=
set wait_key=no
set pager_stop=yes
set print=yes
set print_command="cat > {out}"
set folder="imap://127.0.0.1:{self.demo.port('imap')}/"
set spoolfile="imap://127.0.0.1:{self.demo.port('imap')}/INBOX"
push "<search>{self.words[1]}<enter><print-message><quit>"
""")
        env = {**os.environ, "TERM": "xterm", "HOME": str(self.work)}
        child = subprocess.Popen(["script", "-qec", f"neomutt -n -F {rc}", "/dev/null"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, env=env)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        finally:
            child.stdin.close()
        self.assertTrue(out.exists(), "neomutt printed nothing")
        self.assertIn(f"body of {self.words[1]}", out.read_text())

    def test_poplib(self):
        for make in (lambda: poplib.POP3("127.0.0.1", self.demo.port("pop3"), timeout=20),
                     lambda: poplib.POP3_SSL("127.0.0.1", self.demo.port("pop3s"), context=insecure(), timeout=20)):
            c = make()
            if not isinstance(c, poplib.POP3_SSL):
                c.stls(context=insecure())
            c.user(CAROLYN)
            c.pass_(PASSWORD)
            count, size = c.stat()
            self.assertEqual(count, 3)
            _, listing, _ = c.list()
            self.assertEqual(sum(int(x.split()[1]) for x in listing), size)
            _, uids, _ = c.uidl()
            self.assertEqual(len({x.split()[1] for x in uids}), 3)
            _, lines, octets = c.retr(1)
            self.assertEqual(sum(len(x) + 2 for x in lines), int(listing[0].split()[1]))
            _, top, _ = c.top(1, 1)
            self.assertEqual(top, lines[:len(top)])
            c.dele(1)
            c.rset()
            c.quit()
        c = poplib.POP3("127.0.0.1", self.demo.port("pop3"), timeout=20)
        c.user(CAROLYN), c.pass_(PASSWORD), c.dele(2)
        c.sock.close()  # a lost connection deletes nothing
        c.file.close()
        c = poplib.POP3("127.0.0.1", self.demo.port("pop3"), timeout=20)
        c.user(CAROLYN), c.pass_(PASSWORD)
        self.assertEqual(c.stat()[0], 3)
        c.quit()

    def test_imaplib_two_sessions_and_idle(self):
        with self.demo.imap() as one, self.demo.imap() as two:
            one.select("INBOX")
            two.select("INBOX")
            two.send(b"i1 IDLE\r\n")
            self.assertTrue(two.readline().startswith(b"+"))
            one.store("2", "+FLAGS", r"(\Deleted)")
            one.expunge()
            seen = b""
            while b"EXPUNGE" not in seen:
                seen += two.readline()
            self.assertIn(b"* 2 EXPUNGE", seen)
            latency = []
            for i in range(5):
                started = []

                def deliver(i=i):
                    self.demo.send(f"idle {i}")
                    started.append(time.monotonic())

                thread = threading.Thread(target=deliver)
                thread.start()
                line = b""
                while b"EXISTS" not in line:
                    line = two.readline()
                    self.assertTrue(line)
                thread.join()
                latency.append(time.monotonic() - started[0])
                self.assertIn(f"* {3 + i} EXISTS".encode(), line)
            two.send(b"DONE\r\n")
            line = b""
            while not line.startswith(b"i1 "):
                line = two.readline()
            self.assertIn(b"OK", line)

    def test_imaplib_everyday(self):
        with imaplib.IMAP4_SSL("127.0.0.1", self.demo.port("imaps"), ssl_context=insecure(), timeout=20) as c:
            c.login("carolyn", PASSWORD)
            self.assertEqual(c.create("Projects/2026")[0], "OK")
            self.assertEqual(c.subscribe("Projects/2026")[0], "OK")
            body = b"Subject: appended\r\nFrom: a@abcd.com\r\n\r\n" + bytes(range(1, 10)) + b"x" * 100000 + b"\r\n"
            status, data = c.append("Projects/2026", r"(\Seen $Important)", imaplib.Time2Internaldate(1700000000), body)
            self.assertEqual(status, "OK")
            self.assertIn(b"APPENDUID", data[0])
            c.select("Projects/2026")
            _, got = c.uid("fetch", "1", "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
            self.assertEqual(got[0][1], body)
            self.assertIn(b"$Important", got[0][0] + got[1])
            self.assertEqual(c.copy("1", "Archive")[0], "OK")
            self.assertEqual(c.uid("move", "1", "Trash")[0], "OK")
            self.assertEqual(c.select("Projects/2026")[1], [b"0"])
            self.assertEqual(c.rename("Projects/2026", "Projects/2027")[0], "OK")
            _, listing = c.list()
            self.assertTrue(any(b"Projects/2027" in x for x in listing))
            self.assertEqual(c.delete("Projects/2027")[0], "OK")
            self.assertEqual(c.status("Trash", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")[0], "OK")


if __name__ == "__main__":
    unittest.main()
