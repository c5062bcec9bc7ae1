"""PostgreSQL as it was at a moment: a base backup and the log of changes, in a throwaway server without network."""

from __future__ import annotations

import calendar
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from host import process
from host.backup import catalog, client, postgres, wal
from host.backup.catalog import Backup
from host.backup.policy import Policy
from host.config import Config
from host.errors import Failure, Status, one_line
from host.events import Step

_PURPOSE = "recover"
_DEADLINE = 12 * 3600.0  # seconds
_MEMORY = 1 << 30  # bytes at most for the throwaway server
_SPARE = 512 << 20  # bytes that stay free
_DATA, _AIDS = "/var/lib/postgresql/data", "/run/recovery"
_LOG = "log/recovery.log"
_REACHED = re.compile(r"last completed transaction was at log time (\S+ [0-9:.]+)\+00")
# A segment that is complete is better than one that was still being written, and may be in a later run of receiving.
_FETCH = """for name in "$1" "$1.partial"; do
    for place in /wal/*; do
        if [ -f "$place/$name" ]; then exec cp "$place/$name" "$2"; fi
    done
done
exit 1
"""
_HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n"
_EXTRACT = """set -euo pipefail
cd /data
for file in /in/base/base.tar.* /in/base/pg_wal.tar*; do
    case $file in
        (*.zst) unpack='zstd -dcq' ;; (*.gz) unpack='gzip -dc' ;; (*) unpack=cat ;;
    esac
    case $file in (*/pg_wal.*) to=/data/pg_wal ;; (*) to=/data ;; esac
    $unpack "$file" | tar -xof - -C "$to"
done
cp /in/base/backup_manifest /data/
pg_verifybackup -q -n /data
"""


@dataclass(frozen=True)
class Recovered:
    """A running server: its container, and when what it knows last was committed (Unix time, 0: nothing new)."""

    container: str
    reached: float


@contextmanager
def recovered(
    config: Config, policy: Policy, backup: Backup, room: Path, *, moment: float | None, step: Step
) -> Iterator[Recovered]:  # fmt: skip
    """Unpack the base into `room`, let the server work its log off until `moment` (all there is without one), and have
    it running, open to whoever is in its container. Its files are gone at the end.

    Raises Failure (REFUSED) when the files are damaged or the log does not lead there.
    """
    catalog.check(backup.path, backup.manifest)
    _require_log(config, backup, moment)
    _require_room(backup, room)
    data, aids = room / "data", room / "recovery"
    try:
        _unpacked(config, backup, data)
        _prepared(aids)
        name = _started(config, policy, backup, data, aids, moment=moment)
        _wait(name, data, step, moment)
        yield Recovered(name, reached(_log(data)))
    finally:
        client.clear(config, _PURPOSE)
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(aids, ignore_errors=True)


def _require_log(config: Config, backup: Backup, moment: float | None) -> None:
    """Raise Failure (REFUSED) when segments are missing on the way to `moment`."""
    identifier, first = str(backup.manifest["identifier"]), str(backup.manifest["first_segment"])
    found, more = wal.unbroken(config, identifier, first, int(backup.manifest["segment_bytes"]))
    if not more:
        return
    until = wal.written(config, identifier, found[-1]) if found else float(backup.manifest["finished"])
    if moment is None or until < moment:
        after = found[-1] if found else "the base backup"
        raise Failure(f"the log of changes has a gap after {after}", status=Status.REFUSED,
                      hint="a moment before it, or after the next base backup: fab backup.list")  # fmt: skip


def _require_room(backup: Backup, room: Path) -> None:
    """Raise Failure (REFUSED) unless the server's files fit, and a dump of them."""
    need = int(backup.manifest["database_bytes"]) * 3 // 2 + _SPARE
    free = shutil.disk_usage(room).free
    if free < need:
        raise Failure(f"no room to go back in time: need {need >> 20} MB, have {free >> 20} MB in {room}",
                      hint="free some: docker system df", status=Status.REFUSED)  # fmt: skip


def _unpacked(config: Config, backup: Backup, data: Path) -> None:
    data.mkdir(mode=0o700)
    server = client.server(config, postgres.SERVICE)
    done = client.beside(
        config, server, ["bash", "-c", _EXTRACT], purpose="restore", deadline=_DEADLINE, check=False,
        mounts={backup.path: "/in:ro", data: "/data"},
    )  # fmt: skip
    if done.status != 0:
        raise Failure(f"base backup {backup.id} cannot be unpacked: {one_line(done.last_line)}", status=Status.REFUSED,
                      hint="an older moment may begin at another one: fab backup.list")  # fmt: skip
    (data / "recovery.signal").touch()
    (data / "log").mkdir(exist_ok=True)
    for place, folders, names in os.walk(data):
        for each in (".", *folders, *names):
            os.chown(Path(place) / each, wal.OWNER, wal.OWNER, follow_symlinks=False)


def _prepared(aids: Path) -> None:
    """What the server is told and cannot have among its own files."""
    aids.mkdir(mode=0o755)
    for name, text in (("fetch", _FETCH), ("pg_hba.conf", _HBA), ("pg_ident.conf", "")):
        (aids / name).write_text(text)
        (aids / name).chmod(0o644)
    aids.chmod(0o755)


def _settings(moment: float | None) -> list[str]:
    settings = {
        "restore_command": f'sh {_AIDS}/fetch "%f" "%p"', "recovery_target_action": "promote",
        "hba_file": f"{_AIDS}/pg_hba.conf", "ident_file": f"{_AIDS}/pg_ident.conf",
        # nobody comes in before it has arrived; so no setting of the live server has to be matched either
        "hot_standby": "off", "archive_mode": "off", "primary_conninfo": "", "ssl": "off",
        "shared_buffers": "128MB", "huge_pages": "off", "fsync": "off", "full_page_writes": "off", "autovacuum": "off",
        "listen_addresses": "127.0.0.1", "port": "5432", "unix_socket_directories": "/var/run/postgresql",
        "logging_collector": "on", "log_directory": "log", "log_filename": "recovery.log", "log_destination": "stderr",
        "log_timezone": "UTC", "timezone": "UTC", "lc_messages": "C", "log_min_messages": "info",
        "log_statement": "none",
    }  # fmt: skip
    if moment is not None:
        settings["recovery_target_time"] = written(moment)
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def written(moment: float) -> str:
    """A moment as PostgreSQL reads it, to the microsecond."""
    whole, parts = divmod(round(moment * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(whole))}.{parts:06d}+00"


def _started(
    config: Config, policy: Policy, backup: Backup, data: Path, aids: Path, *, moment: float | None
) -> str:  # fmt: skip
    runs = wal.runs(config, str(backup.manifest["identifier"]))
    mounts = {data: _DATA, aids: f"{_AIDS}:ro", **{run.path: f"/wal/{n:04d}:ro" for n, run in enumerate(runs)}}
    options = ["--user", f"{wal.OWNER}:{wal.OWNER}", "--tmpfs", "/tmp", "--shm-size", "128m",  # noqa: S108
               "--tmpfs", f"/run/postgresql:uid={wal.OWNER},gid={wal.OWNER},mode=0755",
               "-e", f"PGDATA={_DATA}", "-e", f"POSTGRES_USER={policy.user}"]  # fmt: skip
    options += [word for path, seen in mounts.items() for word in ("-v", f"{path}:{seen}")]
    image = client.server(config, postgres.SERVICE).image_id
    words = ["postgres", *_settings(moment)]
    return client.start(config, image, words, purpose=_PURPOSE, options=options, memory=_MEMORY)


def _log(data: Path) -> str:
    try:
        return (data / _LOG).read_text("utf-8", "replace")
    except OSError:
        return ""


def _wait(name: str, data: Path, step: Step, moment: float | None) -> None:
    """Return when the server has arrived and lets one in. Raises Failure with what it said when it ends before."""
    ready: Sequence[str] = ["docker", "exec", name, "pg_isready", "-q", "-h", "127.0.0.1"]
    ends, told = time.monotonic() + _DEADLINE, 0
    while process.run(ready, deadline=60, check=False).status != 0:
        state = process.run(["docker", "inspect", "--format", "{{.State.Running}}", name], deadline=60, check=False)
        if state.text.strip() != "true":
            raise _refused(_log(data), moment)
        if time.monotonic() > ends:
            raise Failure("the log of changes was not worked off in time")
        done = _log(data).count("restored log file")
        if done > told:
            told = done
            step.output(f"{done} segments of the log worked off")
        time.sleep(0.3)


def _refused(log: str, moment: float | None) -> Failure:
    if "recovery ended before configured recovery target was reached" in log and moment is not None:
        last = reached(log)
        where = written(last)[:19] + "+00" if last else "the base backup"
        return Failure(f"the log of changes ends at {where}, before that moment", status=Status.REFUSED,
                       hint="an earlier moment, or: fab restore.postgres --file latest")  # fmt: skip
    lines = [line for line in log.splitlines() if "FATAL:" in line or "PANIC:" in line]
    said = one_line(lines[-1].partition(": ")[2]) if lines else "it ended without a word"
    return Failure(f"PostgreSQL cannot be taken back: {said}", data={"log": log.splitlines()[-20:]},
                   hint="fab restore.postgres --file latest")  # fmt: skip


def reached(log: str) -> float:
    """When the last transaction was committed that a recovery has brought back, Unix time; 0 when it says none."""
    found = _REACHED.findall(log)
    if not found:
        return 0.0
    whole, _, parts = found[-1].partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%d %H:%M:%S")) + float(f"0.{parts or 0}")
