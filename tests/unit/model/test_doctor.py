"""The doctor's judgement."""

from __future__ import annotations

import pytest

from tasks.model import doctor
from tasks.model.doctor import Finding
from tasks.model.health import Check
from tasks.model.provision.step import Step


def test_libraries_that_are_not_those_of_the_lock_file_are_named() -> None:
    assert doctor.libraries({"fabric": "3.2.3"}, {"fabric": "3.2.3"}).grade == "ok"
    found = doctor.libraries({"fabric": "3.2.2"}, {"fabric": "3.2.3", "paramiko": "5.1.0"})
    assert (found.grade, found.what) == ("warning", "fabric is 3.2.2, not 3.2.3; paramiko is missing, not 5.1.0")


@pytest.mark.parametrize(
    ("kind", "bits", "mode", "present", "grade", "what"),
    [
        ("ssh-ed25519", 0, 0o600, True, "ok", "ssh-ed25519"),
        ("ssh-ed25519", 0, None, True, "ok", "ssh-ed25519"),
        ("", 0, None, True, "warning", "cannot be read"),
        ("ssh-rsa", 2048, 0o600, True, "error", "2048 bits"),
        ("ssh-rsa", 3072, 0o600, True, "ok", "ssh-rsa"),
        ("ssh-ed25519", 0, 0o644, True, "error", "can be read by others (0644)"),
        ("ssh-ed25519", 0, 0o600, False, "error", "is not among the keys of the deploy user"),
    ],
)
def test_the_key_is_one_that_will_get_in(
    kind: str, bits: int, mode: int | None, present: bool, grade: str, what: str
) -> None:
    found = doctor.key("/k/id.pub", kind, bits, mode, present)
    assert found.grade == grade
    assert what in found.what
    assert bool(found.fix) is (grade != "ok")


@pytest.mark.parametrize(
    ("found", "grade"),
    [(["203.0.113.7"], "ok"), ([], "error"), (["203.0.113.8"], "error"), (["203.0.113.7", "2001:db8::1"], "error")],
)
def test_a_name_leads_to_the_host_and_nowhere_else(found: list[str], grade: str) -> None:
    assert doctor.name("cv.site.test", found, ["203.0.113.7"]).grade == grade


def test_a_port_is_open_when_it_should_be_and_closed_when_it_should() -> None:
    assert doctor.port(22, True, "SSH") == Finding("network", "port 22", "ok", "open (SSH)")
    assert (doctor.port(443, False, "HTTPS") or Finding("", "", "", "")).grade == "error"
    assert (doctor.port(6379, True, "") or Finding("", "", "", "")).grade == "error"
    assert doctor.port(6379, False, "") is None


def test_every_step_that_setup_would_take_is_an_error_with_setup_as_its_fix() -> None:
    step = Step("packages", "missing: ufw", "true")
    [error, warning] = doctor.promises([step], ["a container"], "fab setup -H vps")
    assert (error.name, error.grade, error.what, error.fix) == ("packages", "error", "missing: ufw", "fab setup -H vps")
    assert (warning.grade, warning.what) == ("warning", "a container")
    [fine] = doctor.promises([], [], "fab setup")
    assert fine.grade == "ok"


def test_the_worst_counts_and_each_fix_has_its_line() -> None:
    findings = [*doctor.checks([Check("disk /", False, "full"), Check("clock", True, "right")], "host", "tidy up")]
    assert doctor.worst(findings) == "error"
    assert doctor.worst(findings[1:]) == "ok"
    assert doctor.table(findings, colour=False).splitlines() == [
        "error    disk /  full",
        "                 fix: tidy up",
        "ok       clock   right",
    ]
