"""The benchmark's parts are sound: its arithmetic, its report, its options, and Ledger's own drain through it."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from ledger import dev
from ops.bench import __main__ as command
from ops.bench import allocations, figures, guard, part, plan, plots, report, results, running, sizes
from ops.bench.catalogue import PEERS, PLAIN
from ops.bench.measures import biglog, queueing
from ops.bench.servers import Servers
from ops.bench.session import Session
from ops.bench.stamps import Stamps
from ops.bench.venvs import PINS

ABOUT = {
    "machine": {"when": "today", "machine": "2 cores"},
    "servers": {"postgres fsync": "on"},
    "sizes": {"drained": 20_000},
    "versions": {"ledger": "this tree", "huey": "3.5"},
    "durable": True,
}


@pytest.fixture
def found() -> results.Results:
    values = {
        "servers": {"raw_insert_per_s": [2000.0], "raw_copy_per_s": [100_000.0]},
        "ledger": {"drain_per_s": [20_000.0, 22_000.0, 21_000.0], "enqueue_per_s": [1900.0], "idle_p50_ms": [2.0]},
        "huey": {"drain_per_s": [3000.0]},
    }
    series = {"ledger": {"throughput": [[0.1, 900.0], [0.2, 1100.0]]}, "huey": {"throughput": [[0.1, 200.0]]}}
    return results.Results(ABOUT, values, series)


@pytest.mark.parametrize("module", [figures, plots])
def test_the_examples_in_the_arithmetic_are_right(module):
    outcome = doctest.testmod(module)
    assert (outcome.attempted > 0, outcome.failed) == (True, 0)


@pytest.mark.parametrize(("share", "value"), [(0.01, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_seen(share, value):
    assert figures.percentile(range(100, 0, -1), share) == value


def test_a_summary_tells_the_spread_around_the_median():
    found = figures.summary([90.0, 100.0, 120.0])
    assert (found.median, found.low, found.high, found.count) == (100.0, 90.0, 120.0, 3)
    assert found.spread == pytest.approx(0.15)


def test_a_rate_ends_with_what_ended_last():
    second = 1_000_000_000
    assert figures.rate([0, second, 2 * second]) == 1.0
    assert figures.rate([0, second, 2 * second], until_ns=4 * second) == 0.5
    assert figures.rate([0, second, 2 * second], until_ns=second) == 1.0


def test_throughput_over_time_loses_no_job():
    times = [n * n * 1000 for n in range(500)]
    points = figures.over_time(times, 20, least_ns=1.0)
    width = max(times) * figures.NANO / 20
    assert sum(rate * width for _, rate in points) == pytest.approx(500)


def test_quick_is_small_and_has_four_systems_and_a_scale_leaves_rates_alone():
    quick = sizes.chosen(quick=True)
    assert quick.repetitions == 1
    assert quick.drained < sizes.NORMAL.drained
    scaled = sizes.chosen(scale=0.1, repetitions=2)
    assert (scaled.drained, scaled.paced_rate, scaled.repetitions) == (2_000, 1_000, 2)
    assert sizes.chosen(full=True).events == 20_000_000


@pytest.mark.parametrize(
    ("arguments", "peers", "measures"),
    [
        (["--quick"], ["ledger", "huey", "taskiq", "pgqueuer"], list(plan.QUICK)),
        (["--only", "bulk,latency", "--peers", "ledger,huey"], ["ledger", "huey"], ["drain", "latency"]),
        ([], list(PEERS), list(plan.MEASURES)),
    ],
)
def test_the_options_choose_systems_and_measures(monkeypatch, arguments, peers, measures):
    asked = []
    monkeypatch.setattr(command, "measure", lambda *given, **_: asked.append(given))
    monkeypatch.setattr(command, "_report", lambda **_: None)
    outcome = CliRunner().invoke(command.main, arguments)
    assert outcome.exit_code == 0, outcome.output
    assert asked[0][:2] == (peers, measures)


def test_an_unknown_system_is_refused_with_those_there_are():
    outcome = CliRunner().invoke(command.main, ["--peers", "ledger,sidekiq"])
    assert outcome.exit_code == 2
    assert "sidekiq: there are" in outcome.output


def test_a_run_goes_through_the_systems_in_turn_and_measures_growth_once():
    jobs = plan.jobs(["ledger", "huey"], plan.MEASURES, sizes.chosen(repetitions=2))
    names = [(job.name, job.repetition) for job in jobs]
    assert len(set(names)) == len(names)
    assert names.index(("huey-plain", 1)) < names.index(("ledger-plain", 2))
    assert [repetition for name, repetition in names if name == "ledger-backlog"] == [1]
    assert all(job.limit > 0 and job.title for job in jobs)


def test_every_system_has_its_module_and_its_pinned_versions():
    for name, peer in PEERS.items():
        assert (PINS.parent / "peers" / f"{name}.py").is_file()
        assert PLAIN in peer.modes
        if name != "ledger":
            lines = (PINS / f"{name}.txt").read_text().splitlines()
            assert lines
            assert all("==" in line for line in lines)


def test_a_missed_target_is_told_as_missed_beside_it(found):
    text = report.text(found)
    assert "| drain, one process of 10 threads | ≥ 5 × the best peer | 21,000/s = 7.00× | met |" in text
    assert "| idle latency, p50 | ≤ 1.5 ms | 2.00 ms | **missed** |" in text
    assert "| enqueue one by one | ≥ 0.9 of raw INSERT + commit | 1,900/s = 0.95× | met |" in text
    assert "| history of one job in a big log, p99 | ≤ 2 ms | not measured | – |" in text
    assert "21,000 ±5 %" in text


def test_what_is_written_by_hand_stays(found, tmp_path):
    page = tmp_path / "RESULTS.md"
    report.write(found, tmp_path / "results", page)
    page.write_text(page.read_text().replace("Nothing is written down yet.", "Larger batches."))
    report.write(found, tmp_path / "results", page)
    text = page.read_text()
    assert text.count("# Results of the benchmark") == 1
    assert text.endswith("Larger batches.\n")
    assert "results/throughput.svg" in text
    picture = ET.fromstring((tmp_path / "results" / "throughput.svg").read_text())
    assert len(picture.findall("{*}polyline")) == 2
    assert json.loads((tmp_path / "results" / "results.json").read_text())["values"] == found.values


ONE_BY_ONE, TEN = "enqueue one by one / raw INSERT + commit", "drain / raw INSERT + commit on ten connections"


def test_a_ratio_is_of_two_figures_of_one_run(found):
    ratios = guard.ratios(found.medians())
    assert ratios[ONE_BY_ONE] == 0.95
    assert TEN not in ratios, "not measured"


def test_a_floor_is_a_share_of_the_lowest_that_was_recorded():
    assert guard.floors([{ONE_BY_ONE: 0.9}, {ONE_BY_ONE: 0.8, TEN: 2.0}]) == {ONE_BY_ONE: 0.8 * 0.7, TEN: 2.0 * 0.7}
    text = json.dumps({"how": "so", "runs": [{ONE_BY_ONE: float(n)} for n in range(5)]})
    content = json.loads(guard.recorded(text, {ONE_BY_ONE: 9.0}))
    assert content == {"how": "so", "runs": [{ONE_BY_ONE: value} for value in (1.0, 2.0, 3.0, 4.0, 9.0)]}


@pytest.mark.parametrize(
    ("ratios", "passes"),
    [
        ({ONE_BY_ONE: 0.5, TEN: 2.0}, True),
        ({ONE_BY_ONE: 0.49, TEN: 2.0}, False),
        ({ONE_BY_ONE: 0.5}, False),
    ],
)
def test_the_guard_fails_below_a_floor_and_for_what_was_not_measured(ratios, passes):
    told = []
    assert guard.hold(ratios, {ONE_BY_ONE: 0.5, TEN: 2.0}, told.append) is passes
    assert sum("BELOW" in line for line in told) == (not passes)


@pytest.mark.parametrize(("slower", "code"), [(1.0, 0), (0.8, 0), (0.6, 1)])
def test_the_guards_command_fails_when_ledger_has_become_slower(monkeypatch, servers, tmp_path, slower, code):
    """On figures that are as they were recorded, but for Ledger's."""
    runs = json.loads(guard.FLOORS.read_text())["runs"]
    assert len(runs) == guard.KEPT
    assert all(set(run) == set(guard.RATIOS) for run in runs)
    lowest = {name: min(run[name] for run in runs) for name in guard.RATIOS}
    monkeypatch.setattr(guard, "ratios", lambda _: {name: value * slower for name, value in lowest.items()})
    monkeypatch.setattr(guard.running.Run, "do", lambda *_: True)
    monkeypatch.setattr(guard, "RUNS", tmp_path)
    monkeypatch.setattr(guard.servers, "opened", lambda: nullcontext(Servers(servers.database_url, "redis://x")))
    monkeypatch.setattr(guard.running, "begin", lambda *_, **__: running.Run(tmp_path, guard.SIZES, None, print))
    (tmp_path / results.OPTIONS).write_text(json.dumps(ABOUT))
    assert CliRunner().invoke(command.main, ["guard"]).exit_code == code


def test_allocations_are_counted_one_by_one_and_the_process_ends_well(tmp_path):
    program = (
        "import sys, pathlib; from itertools import repeat; from ops.bench import allocations\n"
        "path = pathlib.Path(sys.argv[1]); counter = allocations.Counter(path); allocations.count_if_asked(path)\n"
        "before = counter.count; kept = [object() for _ in repeat(None, 10_000)]; print(counter.count - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "counter")], cwd=command.ROOT, check=True,
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert (10_000 <= int(done.stdout) < 10_500) is allocations.is_possible()


def test_a_measure_that_is_added_later_joins_the_others(tmp_path):
    out = tmp_path / "ledger-plain-1.part.json"
    first = part.Job("ledger-plain", "ledger", PLAIN, ["drain"], 1, 1.0)
    part.keep(out, first, {"drain_per_s": 1.0, "series": {"throughput": [[0, 1]]}})
    part.keep(out, part.Job("ledger-plain", "ledger", PLAIN, ["latency"], 1, 1.0), {"idle_p50_ms": 2.0, "series": {}})
    kept = json.loads(out.read_text())
    assert kept["figures"] == {"drain_per_s": 1.0, "idle_p50_ms": 2.0, "series": {"throughput": [[0, 1]]}}
    assert sorted(kept["job"]["measures"]) == ["drain", "latency"]


def test_stamps_are_seen_by_whoever_has_the_file_open(tmp_path):
    mine, theirs = Stamps(tmp_path / "started", 100), Stamps(tmp_path / "started")
    theirs.stamp(7)
    assert mine.missing(0, 100) == 99
    assert mine.times(7, 1)[0] > 0


def test_ledgers_drain_goes_through_the_harness_and_a_log_that_was_filled_is_lawful(servers, redis_url, tmp_path):
    """Counts, not times: every job is enqueued, started and on record, and every figure is there."""
    installed = Servers(servers.database_url, redis_url, f"{servers.run}_bench_{os.getpid()}")
    small = sizes.Sizes(drained=300, chunk=100)
    with Session(PEERS["ledger"], PLAIN, installed, tmp_path) as session:
        measured = queueing.drain(session, small)
        assert session.started.missing(0, 300) == 0
        assert session.started.missing(300, 1) == 1
        assert biglog.fill(session, sizes.Sizes(events=600))["log_events"] == 600
        session.await_caught_up()
        verified = subprocess.run(
            dev.command("verify"), env=session.environment, capture_output=True, text=True, check=False
        )
        assert verified.returncode == 0, verified.stdout + verified.stderr
    assert sum(rate for _, rate in measured["series"]["throughput"]) > 0
    assert measured["drain_per_s"] > 0
    assert {"bulk_per_s", "worker_us", "cpu_projector_us", "cpu_redis_us", "drain_read_models_s"} <= set(measured)


def test_a_line_stays_inside_its_picture():
    points = [[0.0, 5.0], [0.5, 50.0], [1.0, 50_000.0]]
    picture = ET.fromstring(plots.lines("Latency & more", "x", "y", {"one": points}, logarithmic=True))
    (line,) = picture.findall("{*}polyline")
    places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    assert places[0] == (plots.LEFT, plots.HEIGHT - plots.BOTTOM)
    assert places[-1] == (plots.WIDTH - plots.RIGHT, plots.TOP)
    assert places[0][1] > places[1][1] > places[2][1]


def test_a_part_that_fails_is_told_and_stops_nothing(tmp_path):
    told = []
    run = running.Run(
        tmp_path, sizes.QUICK, Servers("postgresql://nobody@127.0.0.1:1/none", "redis://127.0.0.1:1"), told.append
    )
    broken = part.Job("raw", "servers", PLAIN, ["raw"], 1, 60.0)
    assert not run.do(broken, "[1/2]")
    (tmp_path / "start-1.part.json").write_text(json.dumps({"job": {"measures": ["start"]}}))
    assert run.do(part.Job("start", "ledger", PLAIN, ["start"], 1, 60.0), "[2/2]")
    assert "refused" in (tmp_path / "raw-1.error").read_text()
    assert told[-1] == "[2/2] Ledger: start: done before"
