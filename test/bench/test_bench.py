"""The comparison, the growth and the soak with small samples, so that a row that broke shows before somebody measures. They compare what arrives byte
by byte; how long anything takes is not looked at."""
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from postrider import PASSWORD, PROGRAM, ROOT, Demo, run


class Bench(unittest.TestCase):
    def setUp(self):
        self.out = pathlib.Path(tempfile.mkdtemp(prefix="postrider-bench-"))
        self.addCleanup(shutil.rmtree, self.out, ignore_errors=True)

    def lines(self, name):
        return [json.loads(line) for line in (self.out / name).read_text().splitlines()]

    def test_every_row(self):
        run([sys.executable, ROOT / "bench/compare", "--rounds", "1", "--quick", "--peers", "", "--out", self.out], timeout=300)
        rows = {r["row"]: r for r in self.lines("results.jsonl")}
        self.assertGreater(len(rows), 35)
        for name in ("submission, TLS and AUTH, a connection each, visible", "SELECT of the large mailbox, QRESYNC after 5 changes"):
            self.assertGreater(rows[name]["value"], 0)
        killed = rows["kill -9 under SMTP load: lost"]["notes"]
        self.assertGreater(killed["acknowledged"], 0)
        self.assertEqual((killed["lost"], killed["doubled"]), (0, 0))

    def test_growth(self):
        run([sys.executable, ROOT / "bench/growth", "--mailbox", "100,1000", "--accounts", "50,100", "--connections", "1,20", "--out", self.out], timeout=300)
        sizes = {}
        for line in self.lines("growth.jsonl"):
            sizes.setdefault(line["by"], set()).add(line["size"])
        self.assertEqual(sizes, {"mailbox": {100, 1000}, "accounts": {50, 100}, "connections": {1, 20}})
        for name in sizes:
            self.assertIn("<polyline", (self.out / f"growth-{name}.svg").read_text())

    def test_soak(self):
        done = run([sys.executable, ROOT / "bench/soak", "--minutes", "0.15", "--clients", "40", "--seed", "7", "--out", self.out], timeout=300)
        said = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(said["errors"], 0)
        self.assertGreater(said["compared"], 100)
        clients = json.loads(re.search(r'^\{"commands".*\}', done.stdout, re.M).group())
        self.assertGreater(clients["cuts"], 0)
        self.assertGreater(clients["messages_compared"], 100)

    def soak_clients(self, demo, meddle):
        """imap_soak with one client, while `meddle` does something to its mailbox; its exit status and what it said."""
        process = subprocess.Popen([PROGRAM.parent / "imap_soak", "--port", str(demo.port("imap")), "--user", "user%u@xyz.com", "--password", PASSWORD, "--clients", "1",
                                    "--accounts", "1", "--seconds", "4", "--pause", "5", "--cut", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        helper = threading.Thread(target=meddle, args=(demo,))
        helper.start()
        out, err = process.communicate(timeout=60)
        helper.join()
        return process.returncode, json.loads(out)["wrong"], err

    def test_the_soak_sees_what_is_wrong(self):
        def nothing(demo):
            del demo

        def lose(demo):  # one of its messages goes, once there are some
            with demo.imap("user1@xyz.com") as client:
                for _ in range(100):
                    with contextlib.suppress(client.error):
                        if client.select("Soak1a")[0] == "OK" and client.uid("search", None, "ALL")[1][0].split():
                            client.store("1", "+FLAGS.SILENT", r"(\Deleted)")
                            client.expunge()
                            return
                    time.sleep(0.02)

        def damage(demo):  # a message of a number that has other bytes
            with demo.imap("user1@xyz.com") as client:
                for _ in range(100):
                    if client.append("Soak1a", None, None, b"Subject: x\r\nX-Soak: 77\r\n\r\nother bytes\r\n")[0] == "OK":
                        return
                    time.sleep(0.02)

        for meddle, code, sentence in ((nothing, 0, ""), (lose, 1, "WRONG"), (damage, 1, "a message is damaged")):
            with self.subTest(meddle.__name__), Demo("--domain", "xyz.com", "--accounts", "1") as demo:
                status, wrong, said = self.soak_clients(demo, meddle)
                self.assertEqual(status, code, said)
                self.assertEqual(wrong > 0, code == 1)
                self.assertIn(sentence, said)


if __name__ == "__main__":
    unittest.main()
