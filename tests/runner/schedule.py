# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs what has to be done beside each other, as far as the machine can bear it: most tests mostly wait."""

import concurrent.futures

WHOLE = 100


def run(tasks, load, do):
    """Calls do(task) for each, in a thread of its own: those together whose load() is not more than WHOLE, in percent of
    the machine. They begin in their order, but for one that the rest of the machine does not bear: it lets those behind
    it go first. Returns what do() did, in the order of the tasks."""
    waiting, running = list(tasks), {}
    with concurrent.futures.ThreadPoolExecutor(max(len(waiting), 1)) as pool:
        futures = {}
        while waiting or running:
            for task in list(waiting):
                if sum(load(x) for x in running.values()) + load(task) <= WHOLE or not running:
                    waiting.remove(task)
                    futures[task] = pool.submit(do, task)
                    running[futures[task]] = task
            for done in concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)[0]:
                del running[done]
    return [futures[x].result() for x in tasks]
