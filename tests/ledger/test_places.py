"""Places: as many threads work as there are, and who waits for another's work is not one of them."""

from __future__ import annotations

import threading

from ledger.runtime import places


def test_a_place_that_is_left_is_the_next_ones():
    one, works = places.Places(1), threading.Event()

    def work() -> None:
        one.take()
        works.set()

    one.take()
    one.take()  # it has one
    other = threading.Thread(target=work)
    other.start()
    assert not works.is_set()
    places.leave()
    places.leave()  # it has none any more, and goes on without
    assert works.wait(30)
    other.join(30)
