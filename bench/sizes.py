"""How large the samples are. `--quick` makes them small: then every row runs once in a short time, so that a broken one shows, and the figures mean nothing."""
import dataclasses


@dataclasses.dataclass
class Sizes:
    large: int = 100000   # messages of the large mailbox
    big: int = 10000      # of the mailbox that is read, copied and changed
    fresh: int = 3000     # of a mailbox that nobody has looked at
    idle: int = 1000      # idle connections
    idle_wait_ms: int = 8000  # the peer hibernates after 2 s
    sync_seconds: float = 1.0  # for how long the disk's syncs are counted
    share: int = 1        # of the repetitions, one in so many is done

    def times(self, count, least=4):
        return max(least, count // self.share)

    def quick(self):
        self.large, self.big, self.fresh, self.idle, self.idle_wait_ms, self.sync_seconds, self.share = 400, 300, 100, 20, 4000, 0.1, 40


SIZES = Sizes()
