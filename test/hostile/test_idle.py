"""Thousands of idle IMAP connections: what each costs, and that news reach all watchers. The full measure is `test/tool/imap_idle.c` with --count 10000."""
import json
import os
import resource
import unittest

from postrider import CAROLYN, PASSWORD, PROGRAM, Demo, run

TOOL = PROGRAM.parent / "imap_idle"


@unittest.skipUnless(os.path.exists(TOOL), "the tool was not built")
class Idle(unittest.TestCase):
    def test_each_costs_little_and_hears_all(self):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(10000, hard - 2000)
        with Demo() as demo:
            common = [TOOL, "--port", demo.port("imap"), "--user", CAROLYN, "--password", PASSWORD, "--spread", "--pid", demo.process.pid]
            many = json.loads(run([*common, "--count", count], timeout=120).stdout)
            self.assertLess(many["kb_each"], 16, many)
            watched = json.loads(run([*common, "--count", 1000, "--deliveries", 5], timeout=120).stdout)
            self.assertIn("exists_ms_p99", watched)


if __name__ == "__main__":
    unittest.main()
