"""Where a deploy is: the events of the host's command as they are written, and a wait for one of them."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.world import APP, HOST

# In the host: say "ready", then every line of the next events file, and when a release is about to be received. What is
# received is not in a file: the directory it is written to tells.
_TAIL = """
import glob, sys, time
root = "/opt/" + sys.argv[1]
pattern = root + "/shared/state/events/*.jsonl"
before, path, stream, incoming = set(glob.glob(pattern)), None, None, False
print('{"event": "ready"}', flush=True)
while True:
    if not incoming and glob.glob(root + "/releases/.incoming-*/*"):
        incoming = True
        print('{"event": "step", "step": "receive", "state": "running", "ts": %f}' % time.time(), flush=True)
    if stream is None:
        new = sorted(set(glob.glob(pattern)) - before)
        if new:
            stream = open(new[0], "rb")
    line = stream.readline() if stream else b""
    if line.endswith(b"\\n"):
        sys.stdout.buffer.write(line)
        sys.stdout.flush()
    else:
        if line:
            stream.seek(-len(line), 1)
        time.sleep(0.005)
"""


@dataclass
class Phases:
    """Follows the next command of the host program, from `with` on.

    Attributes:
        events: what it has said so far.
    """

    app: str = APP
    host: str = HOST
    events: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> Phases:
        self._news = threading.Condition()
        self._process = subprocess.Popen(
            ["docker", "exec", self.host, "python3", "-u", "-c", _TAIL, self.app],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.wait("", event="ready", seconds=20)
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()
        # killing the client leaves the program in the host running; a host that is down has none
        pattern = "/shared/state/events/[*]"
        subprocess.run(["docker", "exec", self.host, "pkill", "-f", pattern], capture_output=True, check=False)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()

    def find(self, step: str, state: str = "running", event: str = "step") -> dict[str, Any] | None:
        """The first event of `step` in this state that has been said."""
        return next(
            (
                each
                for each in self.events
                if each["event"] == event and (event != "step" or (each["step"], each["state"]) == (step, state))
            ),
            None,
        )

    def at(self, step: str, state: str = "running") -> float:
        """When that was, in seconds since the epoch."""
        found = self.find(step, state)
        assert found, f"no event {step} {state} among {self.steps()}"
        return float(found["ts"])

    def steps(self) -> list[str]:
        """What has been said so far, briefly."""
        return [f"{each['step']} {each['state']}" for each in self.events if each["event"] == "step"]

    def wait(self, step: str, state: str = "running", event: str = "step", seconds: float = 120) -> dict[str, Any]:
        """Return as soon as `step` is in this state; fail when the command ends or `seconds` pass before."""
        ends = time.monotonic() + seconds
        with self._news:
            while not (found := self.find(step, state, event)):
                over = self.find("", "", "done") or self.find("", "", "failed")
                if over or time.monotonic() > ends:
                    why = over["message"] if over else f"not within {seconds:g} s"
                    raise AssertionError(f"no {event} {step} {state}: {why}; so far {', '.join(self.steps())}")
                self._news.wait(0.5)
        return found
