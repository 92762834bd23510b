"""The cursor's arithmetic: holes are read when they fill, and forgotten only when nobody can fill them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cursor import Cursor, Holes, gaps_between

positions = st.sets(st.integers(1, 60)).map(sorted)


def members(holes: Holes) -> set[int]:
    return {position for start, end in holes.ranges for position in range(start, end)}


def ranges_of(numbers: set[int]) -> tuple[tuple[int, int], ...]:
    """Return sorted disjoint ranges, none touching the next."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    return tuple(ranges)


class TestHoles:
    @given(st.sets(st.integers(0, 80)), st.integers(-1, 81))
    def test_membership_is_membership(self, numbers, position):
        assert (position in Holes(ranges_of(numbers))) == (position in numbers)

    @given(st.sets(st.integers(0, 80)))
    def test_the_length_counts_positions(self, numbers):
        assert len(Holes(ranges_of(numbers))) == len(numbers)

    @given(st.sets(st.integers(0, 80)), st.lists(st.integers(0, 80)))
    def test_taking_positions_out_is_set_difference(self, numbers, filled):
        rest = Holes(ranges_of(numbers), horizon=7).without(filled)

        assert members(rest) == numbers - set(filled)
        assert rest.horizon == 7
        assert all(start < end for start, end in rest.ranges)
        assert all(a[1] <= b[0] for a, b in zip(rest.ranges, rest.ranges[1:], strict=False))

    def test_nothing_taken_out_is_the_same_object(self):
        holes = Holes(((3, 5),), 9)

        assert holes.without([1, 5]) is holes

    def test_a_long_range_is_split_not_enumerated(self):
        holes = Holes(((1, 1 << 62),))

        assert holes.without([1 << 40]).ranges == ((1, 1 << 40), ((1 << 40) + 1, 1 << 62))
        assert (1 << 61) in holes


class TestGaps:
    @given(st.integers(0, 5), positions)
    def test_gaps_are_what_is_missing_up_to_the_last_position(self, low, seen):
        seen = [position for position in seen if position > low]
        gaps = gaps_between(low, seen)

        missing = set(range(low + 1, seen[-1] + 1)) - set(seen) if seen else set()
        assert gaps == ranges_of(missing)


class TestAdvance:
    def test_a_read_without_gaps_moves_on(self):
        assert Cursor(3).advance([], 9, (), xmin=100, xid=0) == Cursor(9)

    def test_gaps_become_young_holes_with_the_horizon_taken_after_the_snapshot(self):
        cursor = Cursor(3).advance([], 9, ((4, 6),), xmin=100, xid=105)

        assert cursor == Cursor(9, Holes(), Holes(((4, 6),), 105))
        assert cursor.holes == ((4, 6),)
        assert cursor.hole_count == 2

    def test_a_hole_that_was_filled_is_taken_out_whatever_its_generation(self):
        cursor = Cursor(20, Holes(((4, 6),), 100), Holes(((12, 15),), 110))

        after = cursor.advance([5, 13], 20, (), xmin=90, xid=0)

        assert after == Cursor(20, Holes(((4, 5),), 100), Holes(((12, 13), (14, 15)), 110))

    def test_old_holes_stay_while_someone_older_than_their_horizon_lives(self):
        cursor = Cursor(20, Holes(((4, 6),), 100), Holes(((12, 15),), 110))

        assert cursor.advance([], 20, (), xmin=100, xid=0) == cursor

    def test_old_holes_go_once_all_below_their_horizon_have_ended_and_the_young_ones_grow_old(self):
        cursor = Cursor(20, Holes(((4, 6),), 100), Holes(((12, 15),), 110))

        assert cursor.advance([], 20, (), xmin=101, xid=0) == Cursor(20, Holes(((12, 15),), 110))

    def test_the_young_horizon_alone_frees_nothing_in_the_same_read(self):
        cursor = Cursor(20, Holes(((4, 6),), 100), Holes(((12, 15),), 110))

        after = cursor.advance([], 30, ((22, 24),), xmin=200, xid=210)

        assert after == Cursor(30, Holes(((12, 15),), 110), Holes(((22, 24),), 210))

    def test_new_holes_put_the_young_horizon_off_and_leave_the_old_one(self):
        cursor = Cursor(20, Holes(((4, 6),), 100), Holes(((12, 15),), 110))

        after = cursor.advance([], 30, ((22, 24),), xmin=90, xid=140)

        assert after == Cursor(30, Holes(((4, 6),), 100), Holes(((12, 15), (22, 24)), 140))
        assert after.holes == ((4, 6), (12, 15), (22, 24))

    def test_high_never_goes_back(self):
        assert Cursor(20).advance([], 5, (), xmin=1, xid=1).high == 20

    def test_reanchored_holes_are_kept_until_everyone_alive_now_has_ended(self):
        cursor = Cursor(20, Holes(((4, 6),), 5_000), Holes(((12, 15),), 6_000)).reanchor(40)

        assert cursor == Cursor(20, Holes(((4, 6),), 40), Holes(((12, 15),), 40))
        assert cursor.advance([], 20, (), xmin=40, xid=0) == cursor


@dataclass
class Postgres:
    """As much of it as the cursor relies on: xids in order, a transaction's xid before its positions, snapshots."""

    next_xid: int = 1
    next_position: int = 1
    open: dict[int, list[int]] = field(default_factory=dict)
    committed: set[int] = field(default_factory=set)

    def begin(self) -> int:
        xid, self.next_xid = self.next_xid, self.next_xid + 1
        self.open[xid] = []
        return xid

    def draw(self, xid: int) -> None:
        self.open[xid].append(self.next_position)
        self.next_position += 1

    def end(self, xid: int, commit: bool) -> None:
        positions = self.open.pop(xid)
        if commit:
            self.committed.update(positions)

    @property
    def xmin(self) -> int:
        return min(self.open, default=self.next_xid)


def read(server: Postgres, cursor: Cursor, limit: int, delivered: list[int]) -> Cursor:
    late = [position for position in sorted(server.committed) if _in(cursor.holes, position)]
    window = sorted(position for position in server.committed if position > cursor.high)[:limit]
    gaps = gaps_between(cursor.high, window)
    xmin = server.xmin
    xid = server.begin()
    server.end(xid, commit=True)
    delivered += late + window
    return cursor.advance(late, window[-1] if window else cursor.high, gaps, xmin, xid)


def _in(ranges, position: int) -> bool:
    return any(start <= position < end for start, end in ranges)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("begin")),
        st.tuples(st.just("draw"), st.integers(0, 9)),
        st.tuples(st.just("commit"), st.integers(0, 9)),
        st.tuples(st.just("rollback"), st.integers(0, 9)),
        st.tuples(st.just("read"), st.integers(1, 6)),
    ),
    max_size=80,
)


@given(ACTIONS)
@settings(max_examples=500)
def test_whatever_the_order_of_commits_each_position_is_delivered_once_and_no_hole_stays(actions):
    server, cursor, delivered = Postgres(), Cursor(), []
    for name, *arguments in actions:
        alive = sorted(server.open)
        if name == "begin":
            server.begin()
        elif name == "read":
            cursor = read(server, cursor, arguments[0], delivered)
            assert not set(members(cursor.old)) & set(members(cursor.young))
        elif alive:
            xid = alive[arguments[0] % len(alive)]
            server.draw(xid) if name == "draw" else server.end(xid, commit=name == "commit")
    for xid in sorted(server.open):
        server.end(xid, commit=True)
    for _ in range(100):
        cursor = read(server, cursor, 6, delivered)

    assert sorted(delivered) == sorted(server.committed)
    assert len(set(delivered)) == len(delivered)
    assert cursor.hole_count == 0


def test_the_model_catches_a_cursor_that_forgets_too_early():
    """The property above can fail: with a horizon too low, an open transaction's event is lost."""
    server = Postgres()
    slow, quick = server.begin(), server.begin()
    server.draw(slow)
    server.draw(quick)
    server.end(quick, commit=True)
    right = read(server, Cursor(), 10, [])
    wrong = Cursor(right.high, Holes(), Holes(right.holes, slow - 1))
    for _ in range(2):
        right, wrong = read(server, right, 10, []), read(server, wrong, 10, [])
    server.end(slow, commit=True)

    delivered, lost = [], []
    read(server, right, 10, delivered)
    read(server, wrong, 10, lost)

    assert (delivered, lost) == ([1], [])
