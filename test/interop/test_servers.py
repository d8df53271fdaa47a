"""Mail servers that nobody here wrote, as neighbours: Postfix and Exim send to us, we send to them, and mail passes through them to us again."""
import os
import smtplib
import unittest
import uuid

from peers import Exim, Postfix
from postrider import CAROLYN, ELINOR, Demo, make_message, needs


@unittest.skipUnless(os.geteuid() == 0, "Postfix and Exim are started by root only")
class Servers(unittest.TestCase):
    def deliver_through(self, peer_port, demo, sender):
        words = [uuid.uuid4().hex for _ in range(20)]
        with smtplib.SMTP("127.0.0.1", peer_port, timeout=20) as s:
            for word in words:
                s.send_message(make_message(word, sender=sender, body="line\n.dot\n" * 500))
        for word in words:
            got = demo.wait_for(word, seconds=40)
            self.assertIn(b"line\r\n.dot\r\n" * 500, got)

    @needs("postfix")
    def test_postfix_relays_to_us(self):
        with Demo() as demo, Postfix(next_hop=demo.port("smtp")) as peer:
            self.deliver_through(peer.port, demo, "someone@remote.test")

    @needs("postfix")
    def test_we_relay_to_postfix_and_bounces_come_back(self):
        with Postfix("remote.test") as peer, Demo("--relay", f"127.0.0.1:{peer.port}") as demo:
            words = [uuid.uuid4().hex for _ in range(20)]
            with demo.smtp() as s:
                for word in words:
                    s.send_message(make_message(word, to="someone@remote.test"))
            for word in words:
                box = peer.received(word)
            self.assertIn(b"Received: from", box)
            word = uuid.uuid4().hex
            with demo.smtp() as s: # Postfix has no route to that domain and refuses it
                s.send_message(make_message(word, to="nobody@not-there.invalid"))
            bounce = demo.wait_for("Undeliver", user=ELINOR, seconds=40)
            self.assertIn(b"multipart/report", bounce)
            self.assertIn(b"not-there.invalid", bounce)
            self.assertIn(word.encode(), bounce)

    @needs("postfix")
    def test_out_through_postfix_and_in_again(self):
        with Demo() as last, Postfix("elsewhere.test", next_hop=last.port("smtp")) as peer, \
                Demo("--domain", "first.test", "--accounts", "1", "--password", "secret", "--relay", f"127.0.0.1:{peer.port}") as first:
            word = uuid.uuid4().hex
            with first.smtp() as s:
                s.send_message(make_message(word, sender="user1@first.test"))
            got = last.wait_for(word, user=CAROLYN, seconds=40)
            self.assertEqual(got.count(b"Received: "), 3)

    @needs("unshare")
    def test_exim_both_ways(self):
        with Demo() as demo, Exim(next_hop=demo.port("smtp")) as peer:
            self.deliver_through(peer.port, demo, "someone@exim.test")
        with Exim("exim.test") as peer, Demo("--relay", f"127.0.0.1:{peer.port}") as demo:
            word = uuid.uuid4().hex
            with demo.smtp() as s:
                s.send_message(make_message(word, to="someone@exim.test"))
            peer.received(word)


if __name__ == "__main__":
    unittest.main()
