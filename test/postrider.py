"""What the system tests share: a demo server of their own in a temporary directory, on free ports, that ends with the test."""
import contextlib
import email.message
import email.utils
import imaplib
import json
import os
import pathlib
import random
import select
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = pathlib.Path(os.environ.get("POSTRIDER", ROOT / "build/postrider"))
PASSWORD = "vegetables"
ELINOR, CAROLYN = "elinor@abcd.com", "carolyn@xyz.com"
OFFSETS = {"smtp": 25, "lmtp": 24, "submission": 587, "submissions": 465, "pop3": 110, "pop3s": 995, "imap": 143, "imaps": 993,
           "managesieve": 4190, "http": 8080, "https": 8443}


def free_port_base():
    """A port base (DESIGN: ports are base + the well-known number) whose ports nobody listens on."""
    for _ in range(200):
        base = random.randrange(10000, 22000, 7)
        try:
            for offset in OFFSETS.values():
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
    raise RuntimeError("no free range of ports")


def alive(pid):
    """Whether one of its threads still runs: the first one may have gone before the others, who then still hold the sockets."""
    try:
        first = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return first not in "ZX" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def descendants(pid):
    """pid and all below it."""
    found, ahead = [], [pid]
    while ahead:
        one = ahead.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                ahead += [int(p) for p in pathlib.Path(f"/proc/{one}/task/{task}/children").read_text().split()]
    return found


def memory(pids):
    """Proportional set size of the processes, in bytes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class Demo:
    """`postrider demo` as a child process. Use as a context manager, or start() and stop()."""

    def __init__(self, *options, directory=None, base=None, env=None):
        self.options, self.env = options, env
        self.base = base or free_port_base()
        self.own_directory = directory is None
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="postrider-test-"))
        self.process = None
        self.ready = {}

    def port(self, name):
        return self.base + OFFSETS[name]

    def start(self):
        self.log = open(self.directory.parent / (self.directory.name + ".log"), "ab")
        self.process = subprocess.Popen(
            [PROGRAM, "demo", "--dir", self.directory, "--port-base", str(self.base), "--json", *self.options],
            stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL, env={**os.environ, **(self.env or {})})
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.kill()
            raise RuntimeError(f"the demo did not start: {self.log_text()[-2000:]}")
        self.ready = json.loads(line)
        return self

    def log_text(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def pids(self):
        """The process that we started and all below it."""
        return descendants(self.process.pid)

    def kill(self):
        """kill -9 of everything at once."""
        if self.process:
            pids = self.pids()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            while any(alive(pid) for pid in pids):  # the sockets are free when the last of them has gone
                time.sleep(0.005)
            self.process.stdout.close()
            self.process = None

    def stop(self, timeout=20):
        """Asks it to stop; returns the exit status."""
        if not self.process:
            return None
        process = self.process
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError("did not stop within the time") from None
        process.stdout.close()
        self.process = None
        return status

    def command(self, *words, check=True, text=None, timeout=120):
        """Runs an administration command of the program against this directory."""
        done = subprocess.run([PROGRAM, *words, "--dir", self.directory], input=text, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode:
            raise RuntimeError(f"{words}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        try:
            if self.process:
                self.stop()
        finally:
            self.log.close()
            if self.own_directory:
                shutil.rmtree(self.directory, ignore_errors=True)
                pathlib.Path(self.log.name).unlink(missing_ok=True)

    # shorthands of the tests

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.port("smtp"), timeout=20)

    def imap(self, user=CAROLYN, password=PASSWORD):
        client = imaplib.IMAP4("127.0.0.1", self.port("imap"), timeout=20)
        client.login(user, password)
        return client

    def send(self, subject="test", to=CAROLYN, sender=ELINOR, body="hello\n"):
        message = make_message(subject, to, sender, body)
        with self.smtp() as s:
            s.send_message(message)
        return message

    def wait_for(self, subject, user=CAROLYN, mailbox="INBOX", seconds=20, password=PASSWORD):
        """The message with this subject in the mailbox, as bytes; fails when it does not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.imap(user, password) as client:
                client.select(mailbox, readonly=True)
                _, found = client.search(None, "SUBJECT", f'"{subject}"')
                if found[0]:
                    _, data = client.fetch(found[0].split()[-1], "(BODY.PEEK[])")
                    return data[0][1]
            time.sleep(0.1)
        raise AssertionError(f"no message with subject {subject!r} in {mailbox} of {user} within {seconds} s")


def make_message(subject="test", to=CAROLYN, sender=ELINOR, body="hello\n"):
    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"] = email.utils.formatdate(localtime=True)
    message["Message-ID"] = email.utils.make_msgid(domain="abcd.com")
    message.set_content(body)
    return message


def run(command, text=None, timeout=60, env=None, check=True):
    """Runs somebody else's program; its output belongs to the failure message."""
    done = subprocess.run([str(c) for c in command], input=text, capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, **(env or {})})
    if check and done.returncode:
        raise AssertionError(f"{command[0]}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def needs(program):
    """Decorator: skips where the program is not installed. script/bootstrap installs all that script/test runs."""
    return unittest.skipUnless(shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin"), f"{program} is not installed")


class DemoTest(unittest.TestCase):
    """One demo server for all tests of a class."""
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.demo = Demo(*cls.options)
        cls.demo.start()
        cls.addClassCleanup(cls.demo.__exit__)
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="postrider-client-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
