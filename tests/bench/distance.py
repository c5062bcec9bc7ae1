"""What talking to a host costs, near and far. Needs the lab with a deployed release (`make demo`)."""

from __future__ import annotations

import io
import itertools
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from tasks.core import events, observe, project, settings
from tasks.core.command import Command
from tasks.core.output import Console, Output
from tasks.core.session import Session
from tasks.core.target import Workplace, resolve
from tasks.core.transfer import tar_stream
from tasks.operations import deploy, hostprogram
from tasks.operations.prepare import Options, prepare
from tests.bench.proxy import DelayProxy
from tests.lab import names

ROUNDS = 5
CHANGES_ROUNDS = 3  # each is a whole deploy
NEAR, FAR = 0.0, 0.025  # seconds each way
FAB = names.ROOT / ".venv" / "bin" / "fab"


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    seconds: float
    connections: int
    round_trips: int
    channels: int
    bytes_up: int
    bytes_down: int


def connect(s: Session) -> None:
    s.run(Command("true"))


def facts(s: Session) -> None:
    observe.observe(s, settings.load(s.settings_file))


def nothing_to_do(s: Session) -> None:
    prepared = prepare(s, Options())
    if not prepared.plan.is_empty:
        raise SystemExit("the lab is not as this checkout describes it: run `fab deploy -H lab --yes` first")


def full_push(s: Session) -> None:
    prepared = prepare(s, Options())
    release = f"{prepared.release}-bench{time.monotonic_ns()}"
    everything = replace(
        prepared,
        manifest={**prepared.manifest, "release": release},
        facts=replace(prepared.facts, status={**prepared.status, "manifest": None}),
    )
    stream = tar_stream(deploy.entries(everything))
    events.follow(s, hostprogram.command(prepared.settings.app_name, "receive"), stdin=stream, deadline=60)


CASES: tuple[tuple[str, Callable[[Session], None]], ...] = (
    ("connect and `true`", connect),
    ("connect and facts", facts),
    ("no-op deploy (connect, facts, empty plan)", nothing_to_do),
    ("the same and a push of every file", full_push),
)


_CHANGED = "monitoring/prometheus/prometheus.yml"  # read by one service, which reloads it
_number = itertools.count(1)
_state = {"version": "1.0.0", "note": ""}  # what the deploys below have made of the lab so far


def one_file(s: Session) -> None:
    _state["note"] = f"# benchmark {next(_number)} of {time.time():.0f}\n"
    _deploy_state(s)


def another_image(s: Session) -> None:
    _state["version"] = "1.1.0" if _state["version"] == "1.0.0" else "1.0.0"
    _deploy_state(s)


def as_it_was(s: Session) -> None:
    _state.update(version="1.0.0", note="")
    _deploy_state(s)


def _deploy_state(s: Session) -> None:
    """Deploy this checkout with the version and the remark of `_state`."""
    text = re.sub(
        r"(?m)^((?:BACKEND|FRONTEND)_IMAGE=\S+:)\S+$", rf"\g<1>{_state['version']}", s.settings_file.read_text()
    )
    s.settings_file.write_text(text)
    tree = project.read_tree()
    tree[_CHANGED] += _state["note"].encode()
    # the site is visited where it is: only the SSH connection goes the long way
    with mock.patch.object(project, "read_tree", lambda: tree), mock.patch.object(Session, "address", names.address(1)):
        report = deploy.deploy(s, Options(yes=True, skip_hooks=True))
    if report.status:
        raise SystemExit(f"the deploy ended with {report.status!r}: {report.text}")


CHANGES: tuple[tuple[str, Callable[[Session], None]], ...] = (
    ("deploy of one changed file", one_file),
    ("deploy of another image (backend and frontend)", another_image),
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
            proxy.counts.connections,
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
    _print_changes(_measure_changes())
    print(f"\n`fab --list` takes {start_up():.2f} times as long as with a bare Fabric fabfile.")
    _clean()
    return 0


def _measure_changes() -> dict[tuple[str, float], list[Cost]]:
    """Whole deploys that change something, each with another distance in turn; the lab is put back at the end."""
    results: dict[tuple[str, float], list[Cost]] = {}
    measure(as_it_was, NEAR)
    measure(another_image, NEAR)  # both versions are on the host from here on: what is measured is not the registry
    try:
        for _ in range(CHANGES_ROUNDS):
            for name, body in CHANGES:
                for delay in (NEAR, FAR):
                    results.setdefault((name, delay), []).append(measure(body, delay))
    finally:
        measure(as_it_was, NEAR)
    return results


def _print_changes(results: dict[tuple[str, float], list[Cost]]) -> None:
    print(f"\nWhole deploys that change something, without anybody connected: medians of {CHANGES_ROUNDS} runs.\n")
    print("| what | RTT | seconds | SSH connections | channels | round trips | bytes sent | bytes received |")
    print("|---|---|---|---|---|---|---|---|")
    fields = ("seconds", "connections", "channels", "round_trips", "bytes_up", "bytes_down")
    for (name, delay), costs in results.items():
        middle = [statistics.median(getattr(cost, field) for cost in costs) for field in fields]
        rest = " | ".join(f"{value:,.0f}" for value in middle[1:])
        print(f"| {name} | {delay * 2000:.0f} ms | {middle[0]:.2f} | {rest} |")
    print("\nFor comparison: a deploy with Kamal opens 31 SSH sessions.")


def _clean() -> None:
    """Take the pushed and never applied releases away again."""
    command = ["sh", "-c", "rm -rf /opt/maicivy/releases/*-bench*"]
    subprocess.run(["docker", "exec", names.container(1), *command], check=True)
