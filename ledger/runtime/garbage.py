"""The cyclic garbage collector in processes that are all ours.

Reference counts free what jobs and requests leave behind. The collector looks for cycles on top of that, by default
after every 700 objects: a worker that holds some hundred short jobs then spends a seventh of its time on walking
through them and finding nothing.
"""

from __future__ import annotations

import gc

_PYTHONS = (700, 10, 10)
_OURS = (20_000, 20, 20)


def settle() -> None:
    """Leave all that is loaded out of every collection from now on, and collect less often.

    To be called once, when a process has loaded what it needs. Thresholds that the application has set are kept.
    """
    gc.collect()
    gc.freeze()
    if gc.get_threshold() == _PYTHONS:
        gc.set_threshold(*_OURS)
