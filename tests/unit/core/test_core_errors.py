"""Errors are one line with host, cause and next step, and an exit code each."""

import inspect

import pytest

from tasks.core import errors
from tasks.core.errors import ExitStatus, HostFailed, InfraError, SettingsError, UsageError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, InfraError)]


def _made(kind: type[InfraError]) -> InfraError:
    return SettingsError(["bad"]) if kind is SettingsError else kind("bad")


@pytest.mark.parametrize("kind", CLASSES)
def test_each_error_has_a_docstring_of_its_own_and_an_exit_code(kind: type[InfraError]) -> None:
    assert kind.__doc__
    assert _made(kind).status in ExitStatus
    assert _made(kind).status is not ExitStatus.OK


def test_no_two_kinds_of_error_share_an_exit_code() -> None:
    statuses = [kind.default for kind in CLASSES]
    assert len(set(statuses)) == len(statuses)


def test_the_exit_codes_are_the_documented_numbers() -> None:
    assert {status.name: status.value for status in ExitStatus} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "HOST_KEY": 4,
        "AUTHENTICATION": 5,
        "CONNECTION_LOST": 6,
        "TIMED_OUT": 7,
        "LOCKED": 8,
        "UNHEALTHY": 9,
        "SETTINGS": 10,
        "REFUSED": 11,
        "HOST_FAILED": 12,
        "INTERRUPTED": 130,
    }


def test_the_line_names_host_cause_and_next_step() -> None:
    error = UsageError("no such release.", host="vps", hint="fab releases -H vps")
    assert error.one_line() == "error: [vps] no such release. Next: fab releases -H vps"
    assert str(error) == "[vps] no such release. Next: fab releases -H vps"


def test_without_host_and_hint_the_line_is_the_cause() -> None:
    assert InfraError("it broke").one_line() == "error: it broke"


def test_remote_text_cannot_break_the_line_or_steer_the_terminal() -> None:
    line = HostFailed("first\nsecond\x1b[2J\r\tthird", host="vps").one_line()
    assert line == "error: [vps] first second [2J third"


def test_a_status_can_be_given() -> None:
    assert InfraError("it broke", status=ExitStatus.LOCKED).status is ExitStatus.LOCKED


def test_settings_problems_are_kept_one_by_one() -> None:
    error = SettingsError(["a is missing", "b is missing"])
    assert error.problems == ["a is missing", "b is missing"]
    assert error.one_line() == "error: a is missing; b is missing"
