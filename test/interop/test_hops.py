"""Mail over several hops: three instances in a row, each a production server with a configuration of its own. The first two know only the next one;
the second lets the first relay because its network is listed."""
import contextlib
import pathlib
import shutil
import signal
import smtplib
import subprocess
import tempfile
import unittest
import uuid

from peers import free_port, wait_port
from postrider import PROGRAM, Demo, make_message


class Hop:
    """`postrider serve` as relay: takes from listed networks, knows the next host only."""

    def __init__(self, name, next_port):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"postrider-hop-{name}-"))
        self.port = free_port()
        (self.directory / "clients").write_text("127.0.0.0/8 from=* to=* rate=1000/60\n")
        (self.directory / "postrider.conf").write_text(f"""
global {{ hostname = "{name}.test" directory = "{self.directory}" user = "" }}
submission {{ relay_clients = "{self.directory}/clients" }}
queue {{ smarthost = "127.0.0.1:{next_port}" retry_first = 1s host_pause = 500ms }}
listen "relay" {{ protocol = "submission" address = "127.0.0.1" port = {self.port} }}
""")

    def __enter__(self):
        self.process = subprocess.Popen([PROGRAM, "serve", "--config", self.directory / "postrider.conf"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.directory / "log", "w"))
        try:
            wait_port(self.port)
        except RuntimeError as e:
            self.process.kill()
            raise RuntimeError(f"{e}: {(self.directory / 'log').read_text()}") from None
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        shutil.rmtree(self.directory, ignore_errors=True)


class Hops(unittest.TestCase):
    def test_three_in_a_row(self):
        with Demo("--domain", "c.test", "--accounts", "1", "--password", "secret") as last, Hop("b", last.port("smtp")) as second, \
                Hop("a", second.port) as first:
            words = [uuid.uuid4().hex for _ in range(10)]
            with smtplib.SMTP("127.0.0.1", first.port, timeout=20) as s:
                for word in words:
                    s.send_message(make_message(word, sender="someone@a.test", to="user1@c.test", body="x\n.\n" * 3000))
            for word in words:
                got = self.arrived(last, word)
                self.assertEqual(got.count(b"\r\nReceived: "), 3)
                self.assertIn(b"by a.test", got)
                self.assertIn(b"by b.test", got)
                self.assertTrue(got.endswith(b"x\r\n.\r\n" * 3000))

    def test_a_hop_that_is_down_only_delays(self):
        port = free_port()
        with Hop("a", port) as first:
            word = uuid.uuid4().hex
            with smtplib.SMTP("127.0.0.1", first.port, timeout=20) as s:
                s.send_message(make_message(word, sender="someone@a.test", to="user1@c.test"))
            with Demo("--domain", "c.test", "--accounts", "1", "--password", "secret") as last:
                second = Hop("b", last.port("smtp"))
                conf = second.directory / "postrider.conf"
                conf.write_text(conf.read_text().replace(f"port = {second.port}", f"port = {port}"))
                second.port = port
                with second:
                    self.arrived(last, word, seconds=60)

    @staticmethod
    def arrived(demo, word, seconds=40):
        return demo.wait_for(word, user="user1@c.test", password="secret", seconds=seconds)


if __name__ == "__main__":
    unittest.main()
