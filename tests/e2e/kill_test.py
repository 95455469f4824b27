"""Every upstream call has exactly one event, whatever moment the gateway is killed at. The long form is ./dev kill."""

import random
import unittest

import kill
from moongate import main


class Kill(unittest.TestCase):
    def test_every_call_a_provider_saw_has_one_event_after_many_kills_under_load(self):
        wrong, figures = kill.run(requests=4000, kills=8, seed=random.randrange(1 << 32))

        self.assertEqual(wrong[:20], [], figures)
        self.assertGreaterEqual(figures["kills"], 8)
        self.assertGreater(figures["upstream_calls_seen"], 4000)
        self.assertGreater(figures["redialed_and_seen_twice"], 20)  # the mix had what it should have
        self.assertGreater(figures["interrupted"], 20)
        self.assertGreater(figures["clients_left"], 100)


if __name__ == "__main__":
    main()
