"""The supervisor: the service goes on when the server dies, again and again; new certificates are taken; everything ends when asked."""
import os
import pathlib
import shutil
import signal
import socket
import ssl
import tempfile
import time
import unittest

from postrider import Demo, alive


def shown_certificate(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s, context.wrap_socket(s) as t:
        return t.getpeercert(binary_form=True)


class Supervisor(unittest.TestCase):
    def setUp(self):
        self.demo = Demo()
        self.demo.start()
        self.addCleanup(self.demo.__exit__)

    def server(self):
        """The child that serves; waits until there is one."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            children = [p for p in self.demo.pids()[1:] if alive(p)]
            if children:
                return children[0]
            time.sleep(0.02)
        raise AssertionError("no server")

    def test_dies_again_and_again(self):
        first = self.server()
        for i in range(4):
            pid = self.server()
            os.kill(pid, signal.SIGKILL)
            while alive(pid):
                time.sleep(0.005)
            self.demo.send(f"after death {i}")  # the sockets stayed open: who connects only waits
        self.assertNotEqual(first, self.server())
        for i in range(4):
            self.demo.wait_for(f"after death {i}")
        self.assertEqual(self.demo.log_text().count("supervisor.server_died"), 4)

    def test_the_allocator_has_its_thread(self):
        """jemalloc is the allocator, and gives back what is free, also in a server that was started again."""
        for _ in range(2):
            pid = self.server()
            self.demo.imap().logout()  # it serves
            names = [(task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
            self.assertIn("jemalloc_bg_thd", names)
            os.kill(pid, signal.SIGKILL)
            while alive(pid):
                time.sleep(0.005)

    def test_new_certificate(self):
        before = shown_certificate(self.demo.port("imaps"))
        with tempfile.TemporaryDirectory() as other, Demo(directory=other) as demo:  # makes one
            for name in ("key.pem", "chain.pem"):
                shutil.copy(pathlib.Path(other) / "tls" / name, self.demo.directory / "tls" / name)
            want = shown_certificate(demo.port("imaps"))
        self.demo.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 20
        while shown_certificate(self.demo.port("imaps")) == before and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(shown_certificate(self.demo.port("imaps")), want)
        self.assertNotEqual(want, before)

    def test_stops_with_clients_connected(self):
        smtp, imap = self.demo.smtp(), self.demo.imap()
        smtp.ehlo("client.example")
        imap.select("INBOX")
        self.assertEqual(self.demo.stop(), 0)
        self.assertIn(b"421", smtp.sock.recv(1000))
        self.assertIn(b"* BYE", imap.sock.recv(1000))
        imap.shutdown()
        smtp.close()
        self.demo.start()  # it is there again with all it had
        self.demo.send("after the stop")
        self.demo.wait_for("after the stop")

    def test_supervisor_dies(self):
        """Without it the server does not live on: nobody would start it again."""
        server = self.server()
        self.demo.process.kill()
        self.demo.process.wait()
        end = time.monotonic() + 20
        while alive(server) and time.monotonic() < end:
            time.sleep(0.02)
        self.assertFalse(alive(server))
        self.demo.process.stdout.close()
        self.demo.process = None


if __name__ == "__main__":
    unittest.main()
