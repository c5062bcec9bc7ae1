"""Backups that leave the host: encrypted, proven to be where they went, and fetched when the host has lost its own."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.world import APP, FAB, ROOT, Project, Watch, inside, sql
from tests.lab.names import S3_KEYS, STORAGE, STORAGE_ADDRESS, container

BACKUPS = f"/opt/{APP}/shared/backups"
RUN = secrets.token_hex(4)  # the storage lives on from run to run
S3 = f"s3:http://{STORAGE_ADDRESS}:9000/backups/{RUN}"
SFTP = f"sftp://keeper@{STORAGE_ADDRESS}//srv/keeper/{RUN}"
VOLUME = f"/var/lib/docker/volumes/{APP}_grafana_data/_data"
PASSWORD = "back $HOME `up` \\ '\"# é " + RUN
RECOVERY = "re covery $(id) \\ '\"# é " + RUN


def storage(script: str, stdin: str = "") -> str:
    """Run a script on the storage itself."""
    done = subprocess.run(
        ["docker", "exec", "-i", STORAGE, "sh", "-euc", script],
        input=stdin, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture(scope="module")
def away(project: Project, deployed: object) -> Iterator[Project]:
    """The application with two remotes that nobody has prepared yet."""
    saved = project.saved()
    storage("rm -f /srv/keeper/.ssh/authorized_keys")
    host_key = " ".join(storage("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    project.set(
        BACKUP_REMOTES=f"{SFTP} {S3}", BACKUP_PASSWORD=PASSWORD, BACKUP_RECOVERY_PASSWORD=RECOVERY,
        BACKUP_S3_ACCESS_KEY=S3_KEYS[0], BACKUP_S3_SECRET_KEY=S3_KEYS[1], BACKUP_SFTP_HOST_KEYS=host_key,
    )  # fmt: skip
    project.edit("files/docker-compose.prod.yml", "x-backup: grafana", "x-backup: files")
    project.fab("deploy", "-H", "lab", "--yes")
    yield project
    project.restore(saved)
    project.fab("deploy", "-H", "lab", "--yes")
    inside("sh", "-c", f"rm -rf {BACKUPS}/*/*")


def copies_of(project: Project, kind: str, name: str) -> dict[str, dict[str, object]]:
    """What is noted of a backup's copies, by remote."""
    rows = project.json("backup.list", "-H", "lab")["backups"]
    [row] = [row for row in rows if row["kind"] == kind and row["id"] == name]
    return {copy["remote"]: copy for copy in row["copies"]}


def newest(project: Project, kind: str) -> str:
    rows = project.json("backup.list", "-H", "lab")["backups"]
    return max(str(row["id"]) for row in rows if row["kind"] == kind)


def test_remotes_that_are_not_made_yet_cost_no_backup_and_are_named(away: Project) -> None:
    done = away.fab("backup.redis", "-H", "lab", expect=None)
    assert done.returncode == 12
    assert "refuses the login" in done.stdout + done.stderr
    assert "fab backup.init-remote" in done.stdout + done.stderr
    noted = copies_of(away, "redis", newest(away, "redis"))
    assert noted[SFTP]["ok"] is False
    assert noted[S3]["ok"] is False
    assert "there is no repository" in str(noted[S3]["cause"])


def test_init_remote_shows_the_key_and_makes_what_is_not_there(away: Project) -> None:
    refused = away.fab("backup.init-remote", "-H", "lab", expect=None)
    said = refused.stdout + refused.stderr
    assert refused.returncode == 12
    assert "refuses the login" in said
    key = next(line for line in said.splitlines() if "ssh-ed25519 " in line).partition("ssh-ed25519 ")[2].split()[0]
    storage("cat > /srv/keeper/.ssh/authorized_keys; chown keeper: /srv/keeper/.ssh/*", f"ssh-ed25519 {key}\n")
    made = away.json("backup.init-remote", "-H", "lab")["remotes"]
    assert made == [{"remote": SFTP, "state": "made"}, {"remote": S3, "state": "made"}]
    again = away.json("backup.init-remote", "-H", "lab")["remotes"]
    assert {row["state"] for row in again} == {"there"}


def test_a_backup_is_on_every_remote_and_no_secret_was_in_an_argument(away: Project) -> None:
    with Watch([PASSWORD, RECOVERY, S3_KEYS[1]]) as watch:
        away.fab("backup", "-H", "lab", timeout=900)
        away.fab("backup.rehearse-keys", "-H", "lab")
    assert watch.sweeps > 10
    assert watch.seen == set()
    for kind in ("postgres", "redis", "config"):
        noted = copies_of(away, kind, newest(away, kind))
        assert [noted[url]["ok"] for url in (SFTP, S3)] == [True, True]
    told = {row["remote"]: row["copies"] for row in away.json("backup.copies", "-H", "lab")["remotes"]}
    for url in (SFTP, S3):
        assert {"kind": "postgres", "id": newest(away, "postgres")} in told[url]
    metrics = inside("cat", f"/opt/{APP}/shared/metrics/backups.prom")
    assert f'vps_backup_copy_last_attempt_success{{kind="postgres",remote="{SFTP}"}} 1' in metrics


def test_nothing_readable_lies_at_the_remote(away: Project) -> None:
    assert storage(f"grep -rlaE 'manifest|PGDMP|REDIS0|{APP}' /srv/keeper/{RUN} || true") == ""
    assert int(storage(f"find /srv/keeper/{RUN}/data -type f | wc -l")) > 0


def test_the_recovery_password_opens_the_copies_and_another_does_not(away: Project) -> None:
    rows = away.json("backup.rehearse-keys", "-H", "lab")["remotes"]
    assert [row["ok"] for row in rows] == [True, True]
    saved = away.saved()
    away.set(BACKUP_RECOVERY_PASSWORD="not the one that was given")
    try:
        rows = away.json("backup.rehearse-keys", "-H", "lab", expect=9)["remotes"]
    finally:
        away.restore(saved)
    assert [row["ok"] for row in rows] == [False, False]
    assert all("does not open" in row["cause"] for row in rows)
    kept = f"grep -rlF {RUN} /opt/{APP} /run/{APP} /var/cache /root /etc 2>/dev/null | xargs -r grep -lF 're covery'"
    assert inside("sh", "-c", f"{kept} || true") == ""


def test_drills_take_the_copies_in_turn(away: Project) -> None:
    sources = []
    for _ in range(2):
        done = away.json("backup.drill", "-H", "lab", "--kind", "postgres")
        sources += [drill["source"] for drill in done["drills"]]
    assert sorted(sources) == sorted([SFTP, S3])
    rows = away.json("backup.report", "-H", "lab")["objectives"]
    found = {row["place"]: row for row in rows if row["kind"] == "postgres"}
    assert set(found) == {"this host", SFTP, S3}
    assert all(found[url]["rto"] > 0 and 0 <= found[url]["rpo"] < 3600 for url in (SFTP, S3))


@pytest.mark.parametrize("remote", [SFTP, S3])
def test_a_backup_the_host_has_lost_comes_back_from_a_remote_and_is_restored(away: Project, remote: str) -> None:
    sql("CREATE TABLE IF NOT EXISTS kept (id int); TRUNCATE kept; INSERT INTO kept SELECT generate_series(1, 77)")
    [name] = away.json("backup.postgres", "-H", "lab")["backups"]
    sql("TRUNCATE kept")
    inside("rm", "-rf", f"{BACKUPS}/postgres/{name}")
    away.fab("restore.postgres", "-H", "lab", "--file", name, "--yes", expect=11)
    away.fab("backup.retrieve", "-H", "lab", "--kind", "postgres", "--id", name, "--remote", remote)
    away.fab("restore.postgres", "-H", "lab", "--file", name, "--yes")
    assert sql("SELECT count(*) FROM kept").strip() == "77"
    again = away.fab("backup.retrieve", "-H", "lab", "--kind", "postgres", "--id", name, "--remote", remote, expect=11)
    assert "on this host already" in again.stderr
    assert inside("sh", "-c", f"ls -A {BACKUPS}/postgres | grep partial || true") == ""


def test_a_remote_that_is_gone_stops_neither_the_backup_nor_the_other_and_gets_it_later(away: Project) -> None:
    away.fab("backup.redis", "-H", "lab")
    rule = ["OUTPUT", "-d", STORAGE_ADDRESS, "-p", "tcp", "--dport", "22", "-j", "REJECT"]
    inside("iptables", "-I", *rule)
    try:
        done = away.fab("backup.redis", "-H", "lab", expect=12)
    finally:
        inside("iptables", "-D", *rule)
    assert SFTP in done.stderr
    missed = newest(away, "redis")
    noted = copies_of(away, "redis", missed)
    assert (noted[SFTP]["ok"], noted[S3]["ok"]) == (False, True)
    assert f"{SFTP}: NOT COPIED" in away.fab("backup.list", "-H", "lab").stdout
    away.fab("backup.redis", "-H", "lab")
    assert copies_of(away, "redis", missed)[SFTP]["ok"] is True


def test_a_backup_that_went_bad_on_the_host_keeps_no_newer_one_from_being_copied(away: Project) -> None:
    away.fab("backup.redis", "-H", "lab")
    rule = ["OUTPUT", "-d", STORAGE_ADDRESS, "-p", "tcp", "--dport", "22", "-j", "REJECT"]
    inside("iptables", "-I", *rule)
    try:
        away.fab("backup.redis", "-H", "lab", expect=12)
    finally:
        inside("iptables", "-D", *rule)
    bad = newest(away, "redis")
    inside("truncate", "-s", "0", f"{BACKUPS}/redis/{bad}/dump.rdb")
    done = away.fab("backup.redis", "-H", "lab", expect=12)
    assert "does not list dump.rdb as it was sent" in done.stderr
    good = newest(away, "redis")
    assert good != bad
    assert copies_of(away, "redis", good)[SFTP]["ok"] is True
    assert copies_of(away, "redis", bad)[SFTP]["ok"] is False
    away.fab("backup.redis", "-H", "lab")  # the bad one is not tried for ever
    inside("rm", "-rf", f"{BACKUPS}/redis/{bad}")


def test_another_host_key_is_refused(away: Project) -> None:
    reload = "pkill -HUP -o -x sshd 2>/dev/null || kill -HUP $(cat /run/sshd.pid)"
    storage(f"cd /etc/ssh; cp -a ssh_host_ed25519_key /root/kept; rm ssh_host_ed25519_key*;"
            f" ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key; {reload}")  # fmt: skip
    try:
        done = away.fab("backup.redis", "-H", "lab", expect=12)
    finally:
        storage(f"mv /root/kept /etc/ssh/ssh_host_ed25519_key; cd /etc/ssh;"
                f" ssh-keygen -y -f ssh_host_ed25519_key > ssh_host_ed25519_key.pub; {reload}")  # fmt: skip
    assert "BACKUP_SFTP_HOST_KEYS" in done.stderr
    away.fab("backup.redis", "-H", "lab")


def test_old_copies_go_when_their_time_is_up(away: Project) -> None:
    environment = f"RESTIC_REPOSITORY={S3} RESTIC_PASSWORD_FILE=/opt/{APP}/current/secrets/backup/password HOME=/root"
    keys = f"AWS_ACCESS_KEY_ID={S3_KEYS[0]} AWS_SECRET_ACCESS_KEY={S3_KEYS[1]}"
    for name in ("20250106T000000Z-0001", "20250107T000000Z-0002"):
        tags = f"app={APP},kind=redis,id={name}"
        inside("sh", "-c", f"env {environment} {keys} restic backup -q --tag {tags} /etc/hostname")
    before = {each["id"] for each in on(away, S3)}
    assert {"20250106T000000Z-0001", "20250107T000000Z-0002"} <= before
    away.fab("backup.redis", "-H", "lab")
    after = {each["id"] for each in on(away, S3)}
    assert "20250106T000000Z-0001" not in after
    assert "20250107T000000Z-0002" in after  # the last one of its week


def on(project: Project, url: str) -> list[dict[str, str]]:
    told = project.json("backup.copies", "-H", "lab")["remotes"]
    return next(row["copies"] for row in told if row["remote"] == url)


@pytest.fixture(scope="module")
def empty(away: Project) -> str:
    """A second host as its provider hands it over; returns the name of its container."""
    name = container(2)
    subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, timeout=120, check=False)
    subprocess.run(["docker", "volume", "rm", f"{name}-docker"], capture_output=True, timeout=60, check=False)
    subprocess.run([FAB, "lab.up", "--hosts", "2"], cwd=ROOT, check=True, capture_output=True, timeout=600)
    for file in ("ssh_config", "known_hosts"):
        (away.root / ".lab" / file).write_text((ROOT / ".lab" / file).read_text())
    return name


def test_an_empty_host_and_a_remote_become_the_running_system(away: Project, empty: str) -> None:
    sql("CREATE TABLE IF NOT EXISTS kept (id int); TRUNCATE kept; INSERT INTO kept SELECT generate_series(1, 177)")
    sql("DO $$ BEGIN CREATE ROLE \"re ader\" LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
        "GRANT CONNECT ON DATABASE maicivy TO \"re ader\";"
        "ALTER DATABASE maicivy SET statement_timeout = '66s'")  # fmt: skip
    inside("sh", "-c", f"echo kept > {VOLUME}/'a file'; chown 472:0 {VOLUME}/'a file'")
    away.fab("backup", "-H", "lab", timeout=900)
    sql("ALTER DATABASE maicivy RESET statement_timeout")
    refused = away.fab("rebuild", "-H", "lab", "--from", SFTP, "--yes", expect=11)
    assert "serves on lab already" in refused.stderr
    words = ("rebuild", "-H", "lab2", "--from", SFTP, "--yes")
    with Watch([PASSWORD, RECOVERY]) as watch:
        stranger = away.fab(*words, expect=12, timeout=900)
        assert "refuses the login" in stranger.stderr
        key = re.search(r"ssh-ed25519 (\S+)", stranger.stdout + stranger.stderr)
        assert key
        storage("cat >> /srv/keeper/.ssh/authorized_keys", f"ssh-ed25519 {key[1]}\n")
        told = away.json(*words)
    assert watch.seen == set()
    assert all(check["ok"] for check in told["checks"])
    assert told["seconds"]["total"] > 0
    current = "readlink", f"/opt/{APP}/current"
    assert inside(*current, host=empty) == inside(*current)
    served = "sha256sum", f"/opt/{APP}/shared/tls/fullchain.pem"
    assert inside(*served, host=empty) == inside(*served)
    assert sql("SELECT count(*) FROM kept", host=empty) == "177"
    assert sql("SHOW statement_timeout", host=empty).strip() == "66s", "settings of the database are the backup's"
    granted = "SELECT count(*) FROM pg_database d, aclexplode(datacl) WHERE grantee = '\"re ader\"'::regrole"
    assert sql(granted, host=empty).strip() == "1"
    assert inside("cat", f"{VOLUME}/a file", host=empty) == "kept\n", "a volume whose files are backed up is there"
    assert inside("stat", "-c", "%u", f"{VOLUME}/a file", host=empty) == "472\n"
    assert inside("sh", "-c", f"ls /run/{APP} | grep adopt || true", host=empty) == ""
    assert "nothing to do" in away.fab("deploy", "-H", "lab2", "--yes").stdout
    assert {row["kind"] for row in away.json("backup.list", "-H", "lab2")["backups"]} >= {"postgres", "redis", "config"}
    again = away.fab(*words, expect=11)
    assert "serves on lab2 already" in again.stderr


def test_a_copy_that_is_damaged_over_there_counts_no_longer(away: Project) -> None:
    storage(f"cd /srv/keeper/{RUN}/data; for f in $(find . -type f); do truncate -s -1 $f; done")
    done = away.fab("backup.redis", "-H", "lab", expect=12)
    assert SFTP in done.stderr
    noted = copies_of(away, "redis", newest(away, "redis"))
    assert (noted[SFTP]["ok"], noted[S3]["ok"]) == (False, True)


def test_the_host_keeps_no_lock_no_session_and_no_half_copy(away: Project) -> None:
    assert inside("sh", "-c", "pgrep -x restic || true") == ""
    assert json.loads(inside(f"/usr/local/bin/{APP}", "backups"))["backups"]
    assert inside("sh", "-c", f"ls -A {BACKUPS} {BACKUPS}/postgres | grep -E 'partial|restore' || true") == ""
