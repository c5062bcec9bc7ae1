"""Quoting is done in one place, and a secret cannot get into an argv or a text."""

import copy
import json
import logging
import pickle
import subprocess
from pathlib import Path

import pytest

from tasks.core.command import Command, Secret, redact

HOSTILE = ["two words", "$(id)", "`id`", "'", '"', "a\nb", "*", "~", "", "-n", "é", "a\\b", "!", "#x", ";", "|"]


def test_every_argument_survives_a_shell() -> None:
    line = Command("printf", "%s\\0", *HOSTILE).render()
    shown = subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout.decode()
    assert shown.split("\0")[:-1] == HOSTILE


def test_str_is_the_rendered_line() -> None:
    assert str(Command("docker", "pull", "a b")) == Command("docker", "pull", "a b").render() == "docker pull 'a b'"


def test_a_shell_script_is_one_argument() -> None:
    assert Command.shell("a && b").argv == ("sh", "-c", "a && b")


def test_sudo_never_asks() -> None:
    assert Command("id", "-u").sudo().render() == "sudo -n -- id -u"


def test_sudo_of_a_script_makes_the_whole_script_root() -> None:
    assert Command.shell("a > /b").sudo().argv == ("sudo", "-n", "--", "sh", "-c", "a > /b")


def test_numbers_and_paths_are_arguments_and_bytes_are_not() -> None:
    assert Command("head", "-n", 3, Path("/x")).argv == ("head", "-n", "3", "/x")
    with pytest.raises(TypeError):
        Command("echo", b"x")


@pytest.mark.parametrize("arguments", [(), ("a", "b\0c")])
def test_what_no_kernel_would_take_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Command(*arguments)


def test_a_secret_argument_is_a_type_error_that_does_not_show_it() -> None:
    with pytest.raises(TypeError) as caught:
        Command("redis-cli", "-a", Secret("hunter2"))
    assert "hunter2" not in str(caught.value)


def test_commands_are_values() -> None:
    assert Command("a", "b") == Command("a", "b")
    assert len({Command("a"), Command("a")}) == 1
    with pytest.raises(AttributeError):
        Command("a").argv = ("b",)  # type: ignore[misc]


def test_a_label_is_short_and_can_be_given() -> None:
    assert len(Command("echo", "x" * 500).label) == 80
    assert Command.shell("set -e\nlong script", label="facts").label == "facts"
    assert Command.shell("one\n two").label == "one two"
    assert Command("a").labelled("b").sudo().label == "b"


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{:>5}".format, "%s".__mod__, lambda s: f"{s!r:4}"])
def test_a_secret_shows_as_stars_wherever_it_is_printed(show: object) -> None:
    shown = show(Secret("hunter2"))  # type: ignore[operator]
    assert "hunter2" not in shown
    assert "***" in shown


def test_a_secret_in_a_container_a_log_or_an_exception_is_masked(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hunter2")
    logging.getLogger("t").error("value %s %r", secret, [secret])
    assert "hunter2" not in caplog.text + repr({"a": secret}) + repr(ValueError(secret)) + str(vars_of(secret))


def vars_of(value: object) -> object:
    return getattr(value, "__dict__", {})


def test_a_secret_is_not_serialised_by_accident() -> None:
    for dump in (json.dumps, pickle.dumps, copy.copy):
        with pytest.raises(TypeError) as caught:
            dump(Secret("hunter2"))
        assert "hunter2" not in str(caught.value)


def test_secrets_are_equal_by_value_and_revealed_only_on_request() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a").reveal() == "a"
    assert not Secret("")


def test_redacting_masks_every_occurrence_the_longest_first() -> None:
    assert redact("pass passphrase pass", [Secret("pass"), Secret("passphrase")]) == "*** *** ***"


def test_redacting_masks_each_line_of_a_multi_line_secret() -> None:
    assert redact("said: line-two!", [Secret("line-one\nline-two")]) == "said: ***!"


def test_redacting_an_empty_secret_changes_nothing() -> None:
    assert redact("text", [Secret(""), Secret("x")]) == "text"
