#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""follow-rtc.py: runs in the outer machine and sets its clock by its real-time clock, as that begins a second."""

import time

RTC = "/sys/class/rtc/rtc0/since_epoch"


def seconds():
    """What the real-time clock shows."""
    with open(RTC) as f:
        return int(f.read())


def main():
    first = seconds()
    while seconds() == first:
        pass
    time.clock_settime(time.CLOCK_REALTIME, first + 1)


if __name__ == "__main__":
    main()
