"""imapflow and nodemailer, from the npm registry."""
import json
import pathlib
import shutil
import unittest
import uuid

from postrider import CAROLYN, ELINOR, PASSWORD, DemoTest, needs, run

HERE = pathlib.Path(__file__).resolve().parent / "node"


class Node(DemoTest):
    @needs("npm")
    def test_imapflow_and_nodemailer(self):
        place = self.work / "node"
        shutil.copytree(HERE, place)
        run(["npm", "install", "--prefix", place, "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"], timeout=180)
        subject = uuid.uuid4().hex
        done = run(["node", place / "clients.js", json.dumps({
            "host": "127.0.0.1", "imaps": self.demo.port("imaps"), "submission": self.demo.port("submission"), "user": ELINOR, "to": CAROLYN,
            "password": PASSWORD, "subject": subject})])
        seen = json.loads(done.stdout.splitlines()[-1])
        self.assertTrue(seen["response"].startswith("250"), seen)
        self.assertEqual((seen["grew"], seen["found"], seen["subject"], seen["moved"], seen["archive"]), (1, 1, subject, 1, 1), seen)
        self.assertEqual(seen["parts"], ["multipart/alternative", "application/octet-stream"], seen)
        self.assertTrue(seen["sizeMatches"] and seen["attachmentMatches"], seen)
        self.assertEqual(seen["flags"], ["Label", "\\Seen"])
        self.assertEqual(seen["special"], ["\\Archive", "\\Drafts", "\\Inbox", "\\Junk", "\\Sent", "\\Trash"], seen)


if __name__ == "__main__":
    unittest.main()
