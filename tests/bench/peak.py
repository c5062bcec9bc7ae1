"""The most memory a process had, as the kernel counts it (VmHWM). Standard library only: it is also run on the host.

`python3 -c SOURCE TEXT` watches every process with TEXT in its command line until its stdin is closed, and prints the
highest peak in kB.
"""

import os
import select
import sys
import threading
import time
from pathlib import Path

LOOK = 0.01  # seconds between two looks at a process that is known
SEARCH = 0.1  # seconds between two searches for new ones


def of(pid: int) -> int:
    """VmHWM of a process in kB; 0 when it is gone."""
    try:
        with Path(f"/proc/{pid}/status").open(encoding="utf-8", errors="replace") as stream:
            return next((int(line.split()[1]) for line in stream if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0


def matching(text: str) -> set[int]:
    """The processes with `text` in their command line, but for this one."""
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                if text.encode() in (path / "cmdline").read_bytes():
                    found.add(int(path.name))
            except OSError:
                continue
    return found


class Watch:
    """Watches one process from its start on; `kilobytes` is its peak so far."""

    def __init__(self, pid: int) -> None:
        self.pid, self.kilobytes = pid, 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while peak := of(self.pid):
            self.kilobytes = max(self.kilobytes, peak)
            time.sleep(LOOK)


def main(text: str) -> None:
    """Be the watcher."""
    peak, known, searched = 0, set[int](), 0.0
    while not select.select([sys.stdin], [], [], LOOK)[0]:
        if time.monotonic() - searched > SEARCH:
            known, searched = matching(text), time.monotonic()
        peak = max([peak, *map(of, known)])
    print(peak)


if __name__ == "__main__":
    main(sys.argv[1])
