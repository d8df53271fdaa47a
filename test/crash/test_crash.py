"""A short run of the torture; `make crash` runs the long one."""
import unittest

from torture import torture


class Crash(unittest.TestCase):
    def test_kill_9_under_load(self):
        errors, figures = torture(rounds=4, seconds=2, seed=4711)
        self.assertEqual(errors, [])
        self.assertGreater(figures["acknowledged"], 100, "the load did not load")
        self.assertGreater(figures["relayed"], 5)


if __name__ == "__main__":
    unittest.main()
