"""`make bench`: what talking to a host costs, near and far. Needs the lab with a deployed release (`make demo`)."""

from __future__ import annotations

import io
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tasks.core import events, observe, project, settings
from tasks.core.command import Command
from tasks.core.output import Console, Output
from tasks.core.session import Session
from tasks.core.target import Workplace, resolve
from tasks.core.transfer import tar_stream
from tasks.model import bundle, manifest
from tasks.operations import deploy
from tests.bench.proxy import DelayProxy
from tests.lab import names

ROUNDS = 5
NEAR, FAR = 0.0, 0.025  # seconds each way
FAB = names.ROOT / ".venv" / "bin" / "fab"


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    seconds: float
    round_trips: int
    channels: int
    bytes_up: int
    bytes_down: int


def connect(s: Session) -> None:
    s.run(Command("true"))


def facts(s: Session) -> None:
    observe.observe(s, settings.load(s.settings_file))


def nothing_to_do(s: Session) -> None:
    prepared = deploy._prepare(s)
    if not prepared.plan.is_empty:
        raise SystemExit("the lab is not as this checkout describes it: run `fab deploy -H lab --yes` first")


def full_push(s: Session) -> None:
    prepared = deploy._prepare(s)
    chosen = prepared.settings
    made = manifest.build(
        bundle.render(project.read_tree(), chosen), chosen, manifest.Origin(datetime.now(UTC), "bench", None)
    )
    made["release"] += f"-bench{time.monotonic_ns()}"
    everything = replace(prepared, manifest=made, status={**prepared.status, "manifest": None})
    stream = tar_stream(deploy._entries(everything))
    events.follow(s, deploy.host_program(chosen.app_name, "receive"), stdin=stream, deadline=60)


CASES: tuple[tuple[str, Callable[[Session], None]], ...] = (
    ("connect and `true`", connect),
    ("connect and facts", facts),
    ("no-op deploy (connect, facts, empty plan)", nothing_to_do),
    ("the same and a push of every file", full_push),
)


def measure(body: Callable[[Session], None], delay: float) -> Cost:
    """Run one case over a connection of its own, through a proxy that adds the distance."""
    with (
        DelayProxy(names.address(1), 22, delay) as proxy,
        tempfile.TemporaryDirectory() as directory,
    ):
        place = _workplace(Path(directory), proxy.listen_port)
        silent = Output(Console(stdout=io.StringIO(), stderr=io.StringIO()))
        session = Session(resolve("lab", place), out=silent)
        began = time.perf_counter()
        body(session)
        seconds = time.perf_counter() - began
        cost = Cost(
            seconds,
            proxy.counts.round_trips,
            session.counters.channels,
            session.counters.bytes_sent,
            session.counters.bytes_received,
        )
        session.close()
    return cost


def _workplace(root: Path, port: int) -> Workplace:
    """The lab's access files, with the proxy in the host's place."""
    (root / ".lab").mkdir()
    (root / "fabfile").mkdir()  # what makes a directory a project: relative paths in the settings start there
    for path in names.STATE.iterdir():
        if path.is_file():
            (root / ".lab" / path.name).write_bytes(path.read_bytes())
            (root / ".lab" / path.name).chmod(path.stat().st_mode & 0o777)
    config = root / ".lab" / "ssh_config"
    text = re.sub(r"(?im)^(\s*HostName\s+).*$", rf"\g<1>127.0.0.1\n    Port {port}", config.read_text(), count=1)
    text = re.sub(r"(?im)^\s*Port 22\s*$", "", text)
    config.write_text(text)
    known = root / ".lab" / "known_hosts"
    known.write_text(re.sub(rf"(?m)^(\[?){re.escape(names.address(1))}\S*", f"[127.0.0.1]:{port}", known.read_text()))
    return Workplace(root)


def start_up() -> float:
    """How long `fab --list` takes here, as a multiple of a bare Fabric fabfile's."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "fabfile.py").write_text(
            "from fabric import task\n\n\n@task\ndef hello(c):\n    '''Say hello.'''\n    c.run('true')\n"
        )
        ours, bare = [], []
        for _ in range(15):
            for where, took in ((names.ROOT, ours), (Path(directory), bare)):
                began = time.perf_counter()
                subprocess.run([FAB, "--list"], cwd=where, check=True, capture_output=True)
                took.append(time.perf_counter() - began)
    return statistics.median(ours) / statistics.median(bare)


def main() -> int:
    """Measure everything, interleaved, and print a table of medians."""
    if not (names.STATE / "ssh_config").is_file():
        raise SystemExit("the lab is not up. Next: make demo")
    results: dict[tuple[str, float], list[Cost]] = {}
    for _ in range(ROUNDS):
        for name, body in CASES:
            for delay in (NEAR, FAR):
                results.setdefault((name, delay), []).append(measure(body, delay))
    print(f"Medians of {ROUNDS} runs, interleaved; a connection of its own for each.\n")
    print("| what | RTT | seconds | round trips | channels | bytes sent | bytes received |")
    print("|---|---|---|---|---|---|---|")
    for (name, delay), costs in results.items():
        middle = {
            field: statistics.median(getattr(cost, field) for cost in costs)
            for field in ("seconds", "round_trips", "channels", "bytes_up", "bytes_down")
        }
        print(
            f"| {name} | {delay * 2000:.0f} ms | {middle['seconds']:.2f} | {middle['round_trips']:.0f} | "
            f"{middle['channels']:.0f} | {middle['bytes_up']:,.0f} | {middle['bytes_down']:,.0f} |"
        )
    print(f"\n`fab --list` takes {start_up():.2f} times as long as with a bare Fabric fabfile.")
    _clean()
    return 0


def _clean() -> None:
    """Take the pushed and never applied releases away again."""
    command = ["sh", "-c", "rm -rf /opt/maicivy/releases/*-bench*"]
    subprocess.run(["docker", "exec", names.container(1), *command], check=True)


if __name__ == "__main__":
    sys.exit(main())
