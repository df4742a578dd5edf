# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon killed, or given an error, at system calls of a sleep, of a start and of a stop with machines held: a
sample. "./dev sweep" tries them all."""

import random

from _world import SweepCase

FEW, MANY = 4, 40  # seconds


class Sample(SweepCase):
    """Other points each time; a seed that fails fails again by "./dev sweep --seconds=N --seed=SEED"."""

    def test_promises_hold_at_a_few_points(self):
        self.assertGreater(self.sweep(FEW, random.randrange(1000000)), 5)

    test_promises_hold_at_a_few_points.quick = True

    def test_promises_hold_at_many_points(self):
        self.assertGreater(self.sweep(MANY, random.randrange(1000000)), 40)
