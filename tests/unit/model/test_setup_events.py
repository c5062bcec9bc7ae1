"""Events of the host program: what the user sees of them, and what becomes of the last one."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tasks.core.command import Secret
from tasks.core.errors import ExitStatus, HostFailed, InfraError, Locked, Unhealthy
from tasks.core.events import Renderer, verdict
from tasks.core.output import Console, Output


def shown(*events: dict[str, Any] | str, secrets: tuple[Secret, ...] = ()) -> tuple[str, str, Renderer]:
    out, err = io.StringIO(), io.StringIO()
    renderer = Renderer(Output(Console(stdout=out, stderr=err)), secrets=secrets)
    for event in events:
        renderer.feed(event if isinstance(event, str) else json.dumps(event))
    return out.getvalue(), err.getvalue(), renderer


def step(state: str, message: str = "", **data: Any) -> dict[str, Any]:
    return {"ts": 0, "event": "step", "step": "packages", "state": state, "message": message, "data": data}


def failed(status: int, **data: Any) -> dict[str, Any]:
    return {"event": "failed", "step": "", "state": "failed", "message": "x", "data": {"status": status, **data}}


def test_a_step_is_announced_with_its_output_below_and_its_time_at_the_end() -> None:
    output = {"event": "output", "step": "packages", "state": "running", "message": "ufw (0.36)", "data": {}}
    text, _, _ = shown(step("running", "packages (1 of 2)"), output, step("done", "packages done", seconds=12.34))
    assert text == "packages (1 of 2)\n    ufw (0.36)\n    done (12.3 s)\n"


def test_a_step_that_took_no_time_and_has_no_news_ends_without_a_line() -> None:
    text, _, _ = shown(step("running", "look at the images"), step("done", "look at the images", seconds=0.2))
    assert text == "packages: look at the images\n"


def test_a_step_that_says_something_new_at_its_end_is_heard() -> None:
    text, _, _ = shown(step("running", "pull"), step("done", "3 images pulled", seconds=0.2))
    assert text.endswith("    3 images pulled\n")


def test_a_skipped_step_says_so() -> None:
    text, _, _ = shown(step("running", "pull"), step("skipped", "every image is there"))
    assert text.endswith("    skipped: every image is there\n")


def test_warnings_go_to_stderr() -> None:
    text, errors, _ = shown({"event": "warning", "message": "the disk is nearly full"})
    assert (text, errors) == ("", "warning: the disk is nearly full\n")


def test_what_is_no_event_is_shown_as_it_is() -> None:
    text, _, renderer = shown("Traceback (most recent call last):", "", '"text"', "[1]")
    assert text == 'Traceback (most recent call last):\n"text"\n[1]\n'
    assert renderer.final is None


def test_secrets_are_masked_in_everything_that_is_shown_and_kept() -> None:
    event = failed(12, cause="login as app:hunter22 refused")
    text, _, renderer = shown("noise hunter22", event, secrets=(Secret("hunter22"),))
    assert text == "noise ***\n"
    assert "hunter22" not in json.dumps(renderer.final)


def test_the_last_words_of_what_failed_come_before_the_error_and_not_a_second_time() -> None:
    text, _, renderer = shown(failed(9, cause="backend is not healthy", log=["panic: no database", "exit 1\n"]))
    assert text == "    panic: no database\n    exit 1\n"
    with pytest.raises(Unhealthy) as caught:
        verdict(renderer.final, "vps")
    assert "panic" not in caught.value.one_line()


def test_a_log_is_shown_up_to_its_last_twenty_lines_and_only_of_a_failure() -> None:
    text, _, _ = shown(failed(12, log="\n".join(f"line {n}" for n in range(30))))
    assert text.splitlines()[0].strip() == "line 10"
    assert shown({"event": "done", "data": {"status": 0, "log": ["well"]}})[0] == ""


def test_done_hands_back_its_data() -> None:
    _, _, renderer = shown({"event": "done", "data": {"status": 0, "release": "r1"}})
    assert verdict(renderer.final, "vps")["release"] == "r1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(8, Locked), (9, Unhealthy), (12, HostFailed), (1, HostFailed), (999, HostFailed)],
)
def test_failed_becomes_the_error_of_its_exit_code(status: int, kind: type[InfraError]) -> None:
    with pytest.raises(kind) as caught:
        verdict(failed(status, cause="it broke", hint="fab status"), "vps")
    assert caught.value.status == (status if status != 999 else ExitStatus.HOST_FAILED)
    assert caught.value.one_line() == "error: [vps] it broke. Next: fab status"


def test_an_end_without_a_last_event_is_a_failure_that_quotes_what_was_said() -> None:
    with pytest.raises(HostFailed, match="ended without a result: SyntaxError: invalid syntax"):
        verdict(None, "vps", exit_status=1, stderr="Traceback\nSyntaxError: invalid syntax\n")
