"""What the scripts of `fab setup` do, as far as it can be tried without a host."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from tasks.model.facts import Facts, parse
from tasks.model.provision.account import sudoers
from tasks.model.provision.docker import missing_settings
from tasks.model.provision.step import PROLOGUE, body
from tasks.model.provision.steps import daemon_settings, openpgp_key
from tasks.model.setup import Wanted, plan

FIXTURES = Path(__file__).parents[2] / "fixtures" / "facts"
BARE = sorted(path for path in FIXTURES.glob("*-bare-*.txt"))
FINGERPRINT = "2B33D2B49231E0DF92A263461D9A0F387209F00E"  # as gpg tells it of the key below, made for this test
KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawLIpBYJKwYBBAHaRw8BAQdAddxMYI4Z7SQUNGJyeSYykeG3ohXN8J3hY/Oi
SxdGtT+0KFRlc3QgS2V5IChub3QgRG9ja2VyKSA8dGVzdEBleGFtcGxlLmNvbT6I
kAQTFggAOBYhBCsz0rSSMeDfkqJjRh2aDzhyCfAOBQJrAsikAhsDBQsJCAcCBhUK
CQgLAgQWAgMBAh4BAheAAAoJEB2aDzhyCfAOKTEBAMAq5U2teyM/UDGDqUAL2e51
ifRMnpSHJSd5rvsZfO6yAQDWr79GkLWtIiZaQxbayNvwJfdzu1Fyp0v5drQzzuOa
BA==
=fE1U
-----END PGP PUBLIC KEY BLOCK-----
"""


def bare(name: str = "debian-13-bare-root") -> Facts:
    return parse((FIXTURES / f"{name}.txt").read_bytes())


def sandboxed(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with the commands in `directory` before the system's own."""
    assert script.startswith(PROLOGUE)
    script = script.replace("PATH=/usr/local/sbin", f"PATH={directory}:/usr/local/sbin", 1)
    return subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)


def command(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("path", BARE, ids=lambda path: path.stem)
@pytest.mark.parametrize("source", ["distribution", "docker"])
def test_every_script_is_plain_posix_shell_that_stops_at_the_first_failure(path: Path, source: str) -> None:
    facts = parse(path.read_bytes())
    if (facts.os, source) == ("debian-12", "distribution"):
        source = "docker"  # the other one is refused
    for step in plan(facts, Wanted("maicivy", "deploy", source, "0" * 64)):
        assert step.script.startswith("set -eu\n")
        subprocess.run(["sh", "-n"], input=step.script.encode(), check=True)


def test_values_are_quoted_wherever_they_reach_a_script() -> None:
    script = body("file.sh", variables={"CONTENT": "it's $HOME `id`\n"}) + 'printf %s "$CONTENT"\n'
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout == "it's $HOME `id`\n"


def test_a_file_is_put_with_its_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    target = place / "target"
    script = body("file.sh", variables={"TARGET": str(target)}) + 'put "$TARGET" 0640 "content"\n'
    assert sandboxed(script, tmp_path).returncode == 0
    assert (target.read_text(), oct(target.stat().st_mode & 0o777)) == ("content", "0o640")
    assert list(place.iterdir()) == [target]


def test_the_program_replaces_the_old_one_only_when_it_arrived_whole(tmp_path: Path) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    program = place / "maicivy"
    program.write_text("old")
    content = "new\n"
    digest = "7aa7a5359173d05b63cfd682e3c38487f3cb4f7f1d60659fe59fab1505977d4c"
    script = body("program.sh", variables={"PROGRAM": str(program), "DIGEST": digest})
    cut = subprocess.run(["sh", "-c", script], input=content[:2], capture_output=True, text=True, check=False)
    assert (cut.returncode, program.read_text()) == (1, "old")
    subprocess.run(["sh", "-c", script], input=content, text=True, check=True)
    assert (program.read_text(), oct(program.stat().st_mode & 0o777)) == ("new\n", "0o755")
    assert list(place.iterdir()) == [program]


def test_only_the_packages_that_were_asked_for_are_news(tmp_path: Path) -> None:
    lines = "Get:1 x", "Setting up libx (1) ...", "Setting up ufw (0.36.2-9) ...", "Setting up certbot (4.0.0-2) ..."
    echoes = "; ".join(f"echo '{line}'" for line in lines)
    command(tmp_path, "apt-get", f'case "$*" in *install*) {echoes} ;; esac')
    done = sandboxed(body("apt.sh", "packages.sh", variables={"PACKAGES": "certbot ufw"}), tmp_path)
    assert (done.returncode, done.stdout) == (0, "ufw (0.36.2-9)\ncertbot (4.0.0-2)\n")


def test_a_failed_installation_fails_with_the_words_of_apt_last(tmp_path: Path) -> None:
    command(tmp_path, "apt-get", 'case "$*" in *install*) echo "E: Unable to locate package ufw"; exit 100 ;; esac')
    done = sandboxed(body("apt.sh", "packages.sh", variables={"PACKAGES": "ufw"}), tmp_path)
    assert (done.returncode, done.stderr) == (1, "E: Unable to locate package ufw\n")


def test_apt_is_asked_to_wait_for_others_and_to_keep_changed_settings(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command(tmp_path, "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {seen}')
    assert sandboxed(body("apt.sh", "packages.sh", variables={"PACKAGES": "ufw"}), tmp_path).returncode == 0
    update, install = seen.read_text().splitlines()
    for line in (update, install):
        assert line.startswith("noninteractive ")
        assert "DPkg::Lock::Timeout=300" in line
        assert "Dpkg::Options::=--force-confold" in line
    assert update.endswith(" update")
    assert install.endswith(" install --no-install-recommends ufw")


def test_an_update_waits_while_somebody_else_holds_the_lists(tmp_path: Path) -> None:
    command(tmp_path, "sleep", f"touch {tmp_path}/free")
    locked = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"
    command(tmp_path, "apt-get", f'[ -e {tmp_path}/free ] || {{ echo "{locked}"; exit 100; }}')
    assert sandboxed(body("apt.sh") + "update\n", tmp_path).returncode == 0
    assert (tmp_path / "free").exists()


def test_an_update_does_not_wait_for_any_other_failure(tmp_path: Path) -> None:
    command(tmp_path, "sleep", "exit 1")
    command(tmp_path, "apt-get", 'echo "E: Malformed entry 1 in list file"; exit 100')
    done = sandboxed(body("apt.sh") + "update\n", tmp_path)
    assert (done.returncode, done.stderr) == (1, "E: Malformed entry 1 in list file\n")


@pytest.mark.parametrize("there", [[], ["mkswap"]])
def test_a_swap_file_is_made_private_before_it_is_used(tmp_path: Path, there: list[str]) -> None:
    swap, seen = tmp_path / "swapfile", tmp_path / "seen"
    for name in ("mkswap", "swapon"):
        command(tmp_path, name, f'stat -c "{name} %a" "$1" >> {seen}')
    command(tmp_path, "grep", 'case "$*" in */etc/fstab*) exit 0 ;; *) exit 1 ;; esac')
    if there:
        swap.write_text("left over")
    script = body("swap.sh", variables={"SWAP_FILE": str(swap), "SIZE": "65536"})
    assert sandboxed(script, tmp_path).returncode == 0
    assert seen.read_text().splitlines() == ["mkswap 600", "swapon 600"]
    assert swap.stat().st_size == 65536


def test_the_settings_of_the_user_stay_and_only_what_is_missing_is_added() -> None:
    current = {"log-driver": "json-file", "log-opts": {"tag": "x", "max-file": "9"}, "dns": ["192.0.2.1"]}
    missing = {"live-restore": True, "log-driver": "local", "log-opts": {"max-size": "10m", "max-file": "5"}}
    merged = daemon_settings.merge(current, missing)
    assert merged == {
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "9", "tag": "x"},
        "dns": ["192.0.2.1"],
        "live-restore": True,
    }


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_missing_and_empty_settings_of_the_daemon_are_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    path = tmp_path / "daemon.json"
    if text is not None:
        path.write_text(text)
    missing = missing_settings(bare())
    daemon_settings.main(str(path), json.dumps(missing))
    assert json.loads(capsys.readouterr().out) == missing


def test_the_fingerprint_is_the_one_gpg_tells(tmp_path: Path) -> None:
    path = tmp_path / "key.asc"
    path.write_text(KEY)
    assert openpgp_key.main(str(path), FINGERPRINT) is None


def test_a_key_with_another_fingerprint_is_named_and_not_accepted(tmp_path: Path) -> None:
    path = tmp_path / "key.asc"
    path.write_text(KEY)
    assert openpgp_key.main(str(path), "0" * 40) == (
        f"the key fetched as Docker's has the fingerprint {FINGERPRINT}, not {'0' * 40}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "<html>not found</html>",
        KEY + KEY,
        KEY.replace("mDME", "mDM!"),
        KEY.replace("\n\n", "\n"),
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEawLI\n-----END PGP PUBLIC KEY BLOCK-----\n",
    ],
    ids=["a page", "two keys", "damaged", "no empty line", "cut off"],
)
def test_what_is_not_exactly_one_whole_key_is_not_accepted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.asc"
    path.write_text(text)
    assert str(openpgp_key.main(str(path), FINGERPRINT)).startswith("the file fetched as Docker's key is no key: ")


def test_a_second_primary_key_in_the_same_block_is_not_accepted() -> None:
    data = openpgp_key.dearmour(KEY)
    armoured = base64.b64encode(data + data).decode()
    block = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{armoured}\n-----END PGP PUBLIC KEY BLOCK-----\n"
    with pytest.raises(ValueError, match="not exactly one"):
        openpgp_key.fingerprint(openpgp_key.dearmour(block))


def test_the_rule_for_sudo_names_the_user_and_nobody_else() -> None:
    rules = [line for line in sudoers("deploy").splitlines() if not line.startswith("#")]
    assert rules == ["deploy ALL=(ALL:ALL) NOPASSWD: ALL"]
