"""Tasks as values, and how their endings are told."""

import io
import json

import invoke
import pytest

from tasks.core.errors import ExitStatus, HostFailed, Unreachable, UsageError
from tasks.core.output import Console
from tasks.core.reporting import Ending, show
from tasks.core.session import Session
from tasks.core.task import HostTask, Report, host_task, local_task


@host_task(help={"name": "A name.", "json": "JSON."}, default=True)
def sample(s: Session, name: str, count: int = 3, json: bool = False) -> Report:
    """Do a thing."""
    return Report({"name": name})


def test_a_host_task_is_an_invoke_task_with_its_help() -> None:
    assert isinstance(sample, HostTask)
    assert isinstance(sample, invoke.Task)
    assert sample.is_default
    assert sample.__doc__ == "Do a thing."
    arguments = {argument.name: argument for argument in sample.get_arguments()}
    assert arguments["name"].positional
    assert arguments["name"].help == "A name."
    assert arguments["count"].kind is int


def test_every_host_task_can_be_given_an_environment_and_a_local_one_cannot() -> None:
    @local_task()
    def here(c: invoke.Context) -> None:
        """Do nothing."""

    env = {argument.name: argument for argument in sample.get_arguments()}["env"]
    assert ".env.NAME" in (env.help or "")
    assert "env" not in {argument.name for argument in here.get_arguments()}


def test_flags_have_no_letters_that_would_shadow_fabs_own() -> None:
    assert all(len(name) > 1 for argument in sample.get_arguments() for name in argument.names)


def test_a_host_task_refuses_to_run_on_the_workstation() -> None:
    with pytest.raises(UsageError, match="no host"):
        sample(invoke.Context(), "x")


def test_a_local_task_gets_its_context() -> None:
    @local_task()
    def here(c: invoke.Context) -> Report:
        """Say so."""
        return Report(type(c).__name__)

    assert here(invoke.Context()).data == "Context"


@pytest.fixture
def streams() -> tuple[io.StringIO, io.StringIO]:
    return io.StringIO(), io.StringIO()


def _show(streams: tuple[io.StringIO, io.StringIO], *endings: Ending, as_json: bool = False) -> ExitStatus:
    return show(endings, Console(stdout=streams[0], stderr=streams[1]), as_json=as_json)


def test_the_first_failed_hosts_exit_code_counts(streams: tuple[io.StringIO, io.StringIO]) -> None:
    status = _show(
        streams,
        Ending("a", Report({}, "fine")),
        Ending("b", error=HostFailed("broke", host="b")),
        Ending("c", error=Unreachable("gone", host="c")),
    )
    assert status is ExitStatus.HOST_FAILED
    assert streams[0].getvalue() == "[a] fine\n"
    assert streams[1].getvalue() == (
        "[b] error: broke\n[c] error: gone\n2 of 3 hosts failed: b (exit 12), c (exit 3)\n"
    )


def test_several_hosts_that_all_went_well_need_no_summary(streams: tuple[io.StringIO, io.StringIO]) -> None:
    assert _show(streams, Ending("a"), Ending("b")) is ExitStatus.OK
    assert streams[1].getvalue() == ""


def test_json_of_several_hosts_includes_the_failed_ones(streams: tuple[io.StringIO, io.StringIO]) -> None:
    _show(
        streams,
        Ending("a", Report({"x": 1})),
        Ending("b", error=HostFailed("broke", host="b", hint="look")),
        Ending("c", error=ZeroDivisionError("oops")),
        as_json=True,
    )
    assert json.loads(streams[0].getvalue()) == {
        "a": {"x": 1},
        "b": {"error": "broke", "hint": "look", "status": 12},
        "c": {"error": "ZeroDivisionError", "status": 1},
    }


def test_json_of_one_host_is_its_data_alone(streams: tuple[io.StringIO, io.StringIO]) -> None:
    _show(streams, Ending("a", Report(["é"], "text")), as_json=True)
    assert streams[0].getvalue() == '[\n  "é"\n]\n'


def test_a_reports_status_is_the_exit_code(streams: tuple[io.StringIO, io.StringIO]) -> None:
    assert _show(streams, Ending("a", Report({}, "", ExitStatus.UNHEALTHY))) is ExitStatus.UNHEALTHY
