"""Two worker processes of a system whose own command starts only one: `python -m ops.bench.twice PEER`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def main(peer: str) -> None:
    command = [sys.executable, "-m", "ops.bench.producer", peer, "work"]
    environment = os.environ | {"BENCH_MODE": "half"}
    children = [subprocess.Popen(command, env=environment) for _ in range(2)]
    signal.signal(signal.SIGTERM, lambda *_: [child.terminate() for child in children])
    for child in children:
        child.wait()


if __name__ == "__main__":
    main(sys.argv[1])
