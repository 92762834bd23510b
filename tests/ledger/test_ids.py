"""Job ids: minted in order, refused when foreign, derived alike by everyone."""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import ids

SCHEDULE = UUID("019ab3d0-0000-7000-8000-00000000abcd")
TICK = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
instants = st.datetimes(datetime(2000, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


class TestMint:
    def test_ids_are_version_7_of_the_standard_variant(self):
        job_id = ids.mint()

        assert job_id.version == 7
        assert job_id.variant == uuid.RFC_4122
        assert ids.is_v7(job_id)

    def test_an_id_carries_the_time_of_its_birth(self):
        before = time.time_ns() // 1_000_000
        born = ids.born_at(ids.mint()).timestamp() * 1000
        after = time.time_ns() // 1_000_000

        assert before - 1 <= born <= after + 1

    def test_ids_made_one_after_another_rise_also_within_a_millisecond(self):
        made = [ids.mint() for _ in range(20_000)]

        assert all(a < b for a, b in pairwise(made))

    def test_a_forked_child_does_not_make_the_ids_of_its_parent(self):
        ids.mint()
        read, write = os.pipe()
        if (pid := os.fork()) == 0:
            os.write(write, ids.mint().bytes)
            os._exit(0)
        os.waitpid(pid, 0)
        theirs, ours = UUID(bytes=os.read(read, 16)), ids.mint()
        os.close(read)
        os.close(write)

        random_part = (1 << 62) - 1
        assert theirs.int & random_part != ours.int & random_part

    def test_a_burst_does_not_run_away_from_the_clock(self):
        for _ in range(20_000):
            last = ids.mint()

        ahead = ids.born_at(last).timestamp() - time.time_ns() / 1e9
        assert ahead < 1

    def test_threads_do_not_meet(self):
        barrier = threading.Barrier(8)

        def make(_: int) -> list[UUID]:
            barrier.wait(timeout=30)
            return [ids.mint() for _ in range(5_000)]

        with ThreadPoolExecutor(8) as pool:
            made = [job_id for share in pool.map(make, range(8)) for job_id in share]

        assert len(set(made)) == len(made)

    def test_a_clock_set_back_does_not_set_the_ids_back(self, monkeypatch):
        first = ids.mint()
        monkeypatch.setattr(time, "time_ns", lambda: 1_600_000_000_000_000_000)

        assert ids.mint() > first


class TestRecognition:
    @pytest.mark.parametrize(
        "text",
        [
            "00000000-0000-0000-0000-000000000000",
            "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "019ab3d0-0000-7000-0000-000000000001",
            "019ab3d0-0000-7000-c000-000000000001",
            "019ab3d0-0000-8000-8000-000000000001",
        ],
    )
    def test_other_versions_and_variants_are_not_v7(self, text):
        assert not ids.is_v7(UUID(text))

    @pytest.mark.parametrize("hours", [-24, -1, 0, 1, 24])
    def test_an_id_of_about_now_is_near(self, hours):
        now = datetime(2026, 11, 24, tzinfo=UTC)

        assert ids.is_near(ids.smallest_at(now + timedelta(hours=hours)), now)

    @pytest.mark.parametrize("off", [timedelta(hours=-25), timedelta(hours=24, seconds=1), timedelta(days=40_000)])
    def test_an_id_more_than_a_day_off_is_not_near(self, off):
        now = datetime(2026, 11, 24, tzinfo=UTC)

        assert not ids.is_near(ids.smallest_at(now + off), now)

    def test_an_id_beyond_the_calendar_is_not_near(self):
        assert not ids.is_near(UUID("ffffffff-ffff-7fff-bfff-ffffffffffff"), datetime(2026, 11, 24, tzinfo=UTC))

    @given(instants)
    def test_the_smallest_id_of_an_instant_is_born_in_its_millisecond(self, at):
        smallest = ids.smallest_at(at)

        assert ids.born_at(smallest) == at.replace(microsecond=at.microsecond // 1000 * 1000)
        assert smallest.int & ((1 << 80) - 1) == 0


class TestParse:
    @pytest.mark.parametrize("text", [str(SCHEDULE), str(SCHEDULE).upper()])
    def test_the_canonical_spelling_names_an_id(self, text):
        assert ids.parse(text) == SCHEDULE

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "7",
            SCHEDULE.hex,
            f"{{{SCHEDULE}}}",
            f"urn:uuid:{SCHEDULE}",
            f" {SCHEDULE}",
            f"{SCHEDULE}\n",
            str(SCHEDULE)[:-1],
            str(SCHEDULE).replace("a", "g"),
            "\uff1019ab3d0-0000-7000-8000-00000000abcd",
        ],
    )
    def test_everything_else_names_nothing(self, text):
        assert ids.parse(text) is None


class TestDerive:
    def test_everyone_derives_the_same_id(self):
        elsewhere = TICK.astimezone(timezone(timedelta(hours=5, minutes=30)))

        assert ids.derive(SCHEDULE, TICK) == ids.derive(SCHEDULE, elsewhere)
        # A change of this value would fire, after a deploy, the ticks of the old code once more.
        assert ids.derive(SCHEDULE, TICK) == UUID("019d3736-51c0-78bb-9266-cfb69127fd4f")

    @given(instants)
    def test_a_derived_id_is_a_v7_born_at_its_tick(self, tick):
        job_id = ids.derive(SCHEDULE, tick)

        assert ids.is_v7(job_id)
        assert ids.born_at(job_id) == tick.replace(microsecond=tick.microsecond // 1000 * 1000)

    def test_other_ticks_and_other_schedules_have_other_ids(self):
        other = UUID(int=SCHEDULE.int + 1)
        made = {ids.derive(schedule, TICK + timedelta(seconds=s)) for schedule in (SCHEDULE, other) for s in range(100)}

        assert len(made) == 200
