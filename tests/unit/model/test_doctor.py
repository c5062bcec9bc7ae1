"""The doctor's judgement."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.model import doctor
from tasks.model.doctor import Finding, Key
from tasks.model.health import Check
from tasks.model.provision.step import Step

GIB = 1 << 30


def fab(task: str) -> str:
    return f"fab {task} -H vps"


def well(finding: Finding) -> bool:
    """Graded ok without a fix; whatever is not ok has one."""
    assert bool(finding.fix) is (finding.grade != "ok"), finding
    return finding.grade == "ok"


# --- the workstation


@pytest.mark.parametrize(
    ("version", "needed", "holds"),
    [
        ("5.1.0", ">=5.1,<6", True),
        ("5.1", ">=5.1.0", True),
        ("5.10", ">=5.9", True),  # not as text
        ("5.0.9", ">=5.1,<6", False),
        ("6.0rc1", ">=5.1,<6", False),
        ("3.2.3", ">=3.2.3,<4", True),
        ("2.2.1", "!=2.2.1", False),
        ("2.2.2", ">2.2.1", True),
        ("2.2.1", "==2.2.1", True),
        ("2.2.1", "<=2.2", False),
        ("1", "", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, needed: str, holds: bool) -> None:
    assert doctor.satisfies(version, needed) is holds


def test_an_old_python_is_an_error() -> None:
    assert well(doctor.python("3.13.5", ">=3.11"))
    assert well(doctor.python("3.13.5", ""))
    found = doctor.python("3.10.2", ">=3.11")
    assert (found.grade, found.what) == ("error", "3.10.2, but >=3.11 is needed")


def test_libraries_that_are_not_those_of_the_lock_file_are_named() -> None:
    assert doctor.libraries({"fabric": "3.2.3"}, {"fabric": "3.2.3"}).grade == "ok"
    found = doctor.libraries({"fabric": "3.2.2"}, {"fabric": "3.2.3", "paramiko": "5.1.0"})
    assert (found.grade, found.what) == ("warning", "fabric is 3.2.2, not 3.2.3; paramiko is missing, not 5.1.0")


def test_libraries_that_cannot_work_are_an_error_and_said_before_the_lock_file() -> None:
    needed = {"paramiko": ">=5.1,<6", "fabric": ">=3.2.3"}
    found = doctor.libraries({"paramiko": "4.0.0", "fabric": None}, {"paramiko": "5.1.0"}, needed)
    assert found.grade == "error"
    assert found.what == "paramiko is 4.0.0, but >=5.1,<6 is needed; fabric is missing, but >=3.2.3 is needed"
    assert well(doctor.libraries({"paramiko": "5.2.0"}, {}, {"paramiko": ">=5.1,<6"}))


@pytest.mark.parametrize(
    ("seen", "grade", "what"),
    [
        (Key("/k/id.pub", "ssh-ed25519", mode=0o600), "ok", "ssh-ed25519"),
        (Key("/k/id.pub", "ssh-ed25519"), "ok", "ssh-ed25519"),
        (Key("/k/id.pub", ""), "warning", "holds no public key"),
        (Key("/k/id.pub", "ssh-dss"), "error", "is ssh-dss: a hardened sshd"),
        (Key("/k/id.pub", "ssh-rsa", bits=2048, mode=0o600), "error", "2048 bits"),
        (Key("/k/id.pub", "ssh-rsa", bits=3072, mode=0o600), "ok", "ssh-rsa"),
        (Key("/k/id.pub", "ssh-ed25519", mode=0o644), "error", "/k/id can be read by others (0644)"),
        (Key("/k/id.pub", "ssh-ed25519", mode=0o640), "error", "(0640)"),
        (Key("/k/id.pub", "ssh-ed25519", mode=0o600, present=False), "error", "not among the keys of the deploy user"),
        (Key("/k/id.pub", "ssh-ed25519", usable=False), "warning", "nor in the agent"),
    ],
)
def test_the_key_is_one_that_will_get_in(seen: Key, grade: str, what: str) -> None:
    found = doctor.key(seen)
    assert found.grade == grade
    assert what in found.what
    assert well(found) is (grade == "ok")


def test_what_a_login_has_to_offer_is_told() -> None:
    def told(*arguments: Any) -> list[tuple[str, str]]:
        found = list(doctor.logins(*arguments))
        assert [each for each in found if not well(each) and each.where != "workstation"] == []
        return [(each.name, each.grade) for each in found]

    assert told({"/k/a": 0o600}, [], 0, 1) == []
    assert told({"/k/a": 0o600}, [], 2, 3) == [("agent", "ok")]
    assert told({"/k/a": 0o644, "/k/b": 0o400}, [], 0, 2) == [("login key", "error")]
    assert told({}, ["agent: connection refused"], 0, 1) == [("agent", "warning")]
    assert told({}, [], 0, 0) == [("login key", "warning")]
    [locked] = doctor.logins({}, ["/k/a is encrypted and not in the agent"], 0, 1)
    assert (locked.grade, locked.fix) == ("warning", "ssh-add /k/a")


def test_each_problem_of_a_settings_file_is_an_error() -> None:
    problems = [".env:3: SITE_DOMAIN: still has the example's value", ".env: ACME_EMAIL: is missing"]
    found = list(doctor.unusable_settings(problems, "edit .env"))
    assert [(each.name, each.grade, each.fix) for each in found] == [("settings", "error", "edit .env")] * 2
    assert [each.what for each in found] == problems


def settings(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "hsts": "full", "acme_server": "https://acme-v02.api.letsencrypt.org/directory", "deep_health_public": False,
        "page_csp": "x", "fallback_csp": "x", "permissions_policy": "x", "reboot_time": "04:30",
        "claude_api_key": "key", "openai_api_key": None,
    }  # fmt: skip
    return SimpleNamespace(**values | changes)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, []),
        ({"hsts": "preload"}, []),
        ({"hsts": "trial"}, ["HSTS"]),
        ({"hsts": "off"}, ["HSTS"]),
        ({"acme_server": "https://acme-staging-v02.api.letsencrypt.org/directory"}, ["ACME_SERVER"]),
        ({"deep_health_public": True}, ["DEEP_HEALTH_PUBLIC"]),
        ({"page_csp": None, "permissions_policy": None}, ["PAGE_CSP", "PERMISSIONS_POLICY"]),
        ({"reboot_time": None}, ["REBOOT_TIME"]),
        ({"claude_api_key": None, "openai_api_key": "key"}, []),
        ({"claude_api_key": None}, ["CLAUDE_API_KEY"]),
    ],
)
def test_choices_that_are_weak_are_warnings(changes: dict[str, Any], names: list[str]) -> None:
    found = list(doctor.choices(settings(**changes), fab))
    assert [each.name for each in found] == names
    assert {each.grade for each in found} <= {"warning"}
    assert [each for each in found if well(each)] == []


# --- the way there


@pytest.mark.parametrize(
    ("found", "expected", "grade"),
    [
        (["203.0.113.7"], ["203.0.113.7"], "ok"),
        ([], ["203.0.113.7"], "error"),
        (["203.0.113.8"], ["203.0.113.7"], "error"),
        (["203.0.113.7", "203.0.113.8"], ["203.0.113.7"], "error"),  # every other visitor goes elsewhere
        (["203.0.113.7"], ["203.0.113.7", "203.0.113.8"], "ok"),
        (["2001:db8::1"], ["203.0.113.7"], "error"),  # nobody without IPv6 gets there
        (["203.0.113.7", "2001:db8::1"], ["203.0.113.7"], "ok"),  # the host's own IPv6 address is not known
        (["203.0.113.7", "2001:db8::1"], ["203.0.113.7", "2001:db8::2"], "error"),
        (["203.0.113.7"], [], "ok"),  # behind a gateway: nothing to compare with
        ([], [], "error"),
    ],
)
def test_a_name_leads_to_the_host_and_nowhere_else(found: list[str], expected: list[str], grade: str) -> None:
    finding = doctor.name("cv.site.test", found, expected)
    assert finding.grade == grade
    assert well(finding) is (grade == "ok")


def test_an_ipv6_record_of_a_host_without_ipv6_is_an_error() -> None:
    found = doctor.name("cv.site.test", ["203.0.113.7", "2001:db8::1"], ["203.0.113.7"], has_ipv6=False)
    assert (found.grade, found.what) == ("error", "leads to 2001:db8::1, but the host has no IPv6")
    assert well(doctor.name("cv.site.test", ["203.0.113.7"], ["203.0.113.7"], has_ipv6=False))


def test_a_name_may_lead_to_a_trusted_proxy_instead() -> None:
    proxies = ["198.51.100.0/24", "2001:db8:1::/48"]
    found = doctor.name("cv.site.test", ["198.51.100.9", "2001:db8:1::5"], ["203.0.113.7"], proxies=proxies)
    assert well(found)
    assert "proxy" in found.what
    assert doctor.name("cv.site.test", ["192.0.2.1"], ["203.0.113.7"], proxies=proxies).grade == "error"


@pytest.mark.parametrize("found", [[], ["203.0.113.8"], ["2001:db8::1"]])
def test_dns_that_is_not_switched_yet_is_a_warning_when_the_settings_say_so(found: list[str]) -> None:
    finding = doctor.name("cv.site.test", found, ["203.0.113.7"], switched=False)
    assert finding.grade == "warning"
    assert "PUBLIC_ADDRESS" in finding.fix


def test_a_port_is_open_when_it_should_be_and_closed_when_it_should() -> None:
    assert doctor.port(22, True, "SSH", fab) == Finding("network", "port 22", "ok", "open (SSH)")
    assert (doctor.port(443, False, "HTTPS", fab) or Finding("", "", "", "")).grade == "error"
    assert (doctor.port(443, False, "HTTPS", fab, certain=False) or Finding("", "", "", "")).grade == "warning"
    surprise = doctor.port(6379, True, "", fab)
    assert surprise is not None
    assert (surprise.grade, surprise.fix) == ("error", "fab firewall.status -H vps")
    assert doctor.port(6379, False, "", fab) is None


def test_the_ports_that_were_found_closed_are_told_in_one_line() -> None:
    found = doctor.ports({22: True, 443: False, 5432: False, 6379: True, 9090: False}, {22: "SSH", 443: "HTTPS"}, fab)
    assert [(each.name, each.grade) for each in found] == [
        ("port 22", "ok"),
        ("port 443", "error"),
        ("port 6379", "error"),
        ("other ports", "ok"),
    ]
    assert found[-1].what == "closed: 5432, 9090"


# --- the host


def test_every_step_that_setup_would_take_is_an_error_with_setup_as_its_fix() -> None:
    step = Step("packages", "missing: ufw", "true")
    [error, warning] = doctor.promises([step], ["a container"], "fab setup -H vps")
    assert (error.name, error.grade, error.what, error.fix) == ("packages", "error", "missing: ufw", "fab setup -H vps")
    assert (warning.grade, warning.what) == ("warning", "a container")
    assert warning.fix
    [fine] = doctor.promises([], [], "fab setup")
    assert fine.grade == "ok"


def test_a_program_that_says_nothing_is_an_error_and_a_missing_one_is_in_the_plan() -> None:
    assert doctor.program(None, False, "d1", "fab setup") is None
    assert doctor.program({"program": "d0"}, True, "d1", "fab setup") is None
    assert (doctor.program(None, True, "d1", "fab setup") or Finding("", "", "", "")).grade == "error"
    assert well(doctor.program({"program": "d1"}, True, "d1", "fab setup") or Finding("", "", "error", ""))


def test_what_the_host_program_says_of_itself() -> None:
    assert list(doctor.standing({"problems": [], "busy": None, "interrupted": None}, fab)) == []
    status = {"problems": ["docker does not answer"], "interrupted": "20261122T100000Z-1.2.0", "busy": None}
    [problem, interrupted] = doctor.standing(status, fab)
    assert (problem.grade, problem.what) == ("error", "docker does not answer")
    assert (interrupted.grade, interrupted.fix) == ("error", "fab deploy -H vps")
    assert "20261122T100000Z-1.2.0" in interrupted.what
    [busy] = doctor.standing({"busy": {"what": "deploy", "who": "ann@desk"}}, fab)
    assert (busy.grade, busy.what.split(" is ")[0]) == ("warning", "deploy by ann@desk")


def test_a_full_disk_counts_wherever_docker_keeps_its_images_and_without_a_release() -> None:
    status = {
        "manifest": None,
        "disk": [{"mount": "/", "total": 100 * GIB, "free": 50 * GIB}],
        "space": [
            {"purpose": "images", "path": "/data/docker", "mount": "/data", "total": 100 * GIB, "free": GIB},
            {"purpose": "releases", "path": "/opt/shop", "mount": "/", "total": 100 * GIB, "free": 50 * GIB},
        ],
        "memory": {"total": 4 * GIB, "available": 2 * GIB},
        "clock": {"time": 1000.0, "synchronized": True},
    }
    found = doctor.condition(status, now=1001.0)
    assert [(check.name, check.ok) for check in found] == [
        ("disk /", True),
        ("disk /data", False),
        ("memory", True),
        ("clock", True),
    ]
    late = doctor.condition(status, now=1100.0)
    assert [check.name for check in late if not check.ok] == ["disk /data", "clock"]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("container redis", "fab deploy -H vps"),
        ("drift", "fab deploy -H vps --accept drift"),
        ("unit maicivy.service", "fab deploy -H vps"),
        ("unit certbot.timer", "fab setup -H vps"),
        ("certificate", "fab ssl.status -H vps"),
        ("https /", "fab deploy -H vps"),
        ("clock", "timedatectl"),
        ("disk /", "free some"),
        ("something new", "fab health -H vps"),
    ],
)
def test_each_check_that_fails_has_a_fix_of_its_own(name: str, fix: str) -> None:
    [bad, good] = doctor.checks([Check(name, False, "ill"), Check(name, True, "well")], "host", fab)
    assert fix in bad.fix
    assert (bad.grade, good.grade, good.fix) == ("error", "ok", "")


def test_tasks_in_a_text_become_command_lines_for_the_host() -> None:
    assert doctor.for_host("fab deploy, then fab ssl.issue --force", fab) == (
        "fab deploy -H vps, then fab ssl.issue -H vps --force"
    )
    assert doctor.for_host("fab setup -H vps", fab) == "fab setup -H vps"
    assert doctor.for_host("journalctl -u certbot", fab) == "journalctl -u certbot"


def test_what_setup_can_close_is_setups_and_what_somebody_opened_is_theirs() -> None:
    [inactive, stray] = doctor.exposure(["UFW is not active", "open: 6379/tcp (redis-server)"], fab)
    assert (inactive.grade, inactive.fix) == ("error", "fab setup -H vps")
    assert (stray.grade, stray.what) == ("error", "open: 6379/tcp (redis-server)")
    assert "fab firewall.status -H vps" in stray.fix
    assert [well(each) for each in doctor.exposure([], fab)] == [True]


# --- all of it


def test_the_worst_counts_and_each_fix_has_its_line() -> None:
    findings = [
        Finding("host", "disk /", "error", "full", "tidy up"),
        Finding("host", "HSTS", "warning", "trial", "wait"),
        Finding("host", "clock", "ok", "right"),
    ]
    assert doctor.worst(findings) == "error"
    assert doctor.worst(findings[1:]) == "warning"
    assert doctor.worst(findings[2:]) == "ok"
    assert doctor.table(findings, colour=False).splitlines() == [
        "error    disk /  full",
        "                 fix: tidy up",
        "warning  HSTS    trial",
        "                 fix: wait",
        "ok       clock   right",
    ]


def test_a_volume_that_nothing_backs_up_is_an_error_and_one_that_nobody_names_a_warning() -> None:
    classes = {"shop_data": "postgres", "shop_metrics": "none"}
    well = list(doctor.volumes(classes, ["shop_data"], "files/c.yml", lambda task: f"fab {task}"))
    assert [found.grade for found in well] == ["ok"]
    found = {each.name: each for each in doctor.volumes({**classes, "shop_uploads": ""}, ["shop_old"], "files/c.yml",
                                                        lambda task: f"fab {task}")}  # fmt: skip
    assert found["volume shop_uploads"].grade == "error"
    assert "x-backup: files" in found["volume shop_uploads"].fix
    assert found["volume shop_old"].grade == "warning"
