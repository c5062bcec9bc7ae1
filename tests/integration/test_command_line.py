"""`fab` itself, as a process: hosts, exit codes, JSON, Ctrl-C, stdin, several hosts at once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.integration.conftest import Desk
from tests.integration.server import PrivateSshd

REPOSITORY = Path(__file__).resolve().parents[2]

FABFILE = '''
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).absolute().parent.parent))
from invoke import Collection
from tasks.core.executor import install
from tasks.core.command import Command, Secret
from tasks.core.errors import ExitStatus, Refused, Unhealthy
from tasks.core.task import Report, host_task, local_task
from tasks.trust import trust
install()

@host_task(help={"json": "JSON."})
def who(s, json=False):
    """Say who we are there."""
    s.out.step("asking")
    port = s.run(Command.shell('echo "$SSH_CLIENT"')).text.split()[1]
    return Report({"user": s.user, "client_port": port}, f"user {s.user} port {port}")

@host_task(help={"file": "Where the pid goes."})
def slow(s, file=""):
    """Sleep for a minute."""
    s.run(Command.shell(f"echo $$ > {file}.{s.name}; exec sleep 60"), deadline=None)

@host_task(help={"yes": "Do not ask."})
def ask(s, yes=False):
    """Ask."""
    return Report({}, "answer: " + str(s.out.confirm("sure?")))

@host_task(help={"on": "The host to fail on."}, serving=lambda s: s.run(Command.shell("echo up")).text.strip())
def fail(s, on=""):
    """Fail on one host."""
    if s.name == on:
        s.run(Command.shell("echo no room >&2; exit 4", label="the step"))
    s.out.info("fine")

@host_task()
def crash(s):
    """A bug."""
    secret = Secret("hunter2-hunter2")
    raise RuntimeError(f"a bug with {secret}")

@host_task()
def sick(s):
    """Report something unhealthy."""
    return Report({}, "sick", ExitStatus.UNHEALTHY)

@host_task()
def settings(s):
    """Say which settings are read."""
    return Report({}, f"{s.settings_file.name} {s.target.environment or '-'}")

@host_task(remainder=True)
def words(s):
    """Take words after --."""
    return Report({}, s.remainder)

@local_task()
def here(c):
    """Run on the workstation."""
    return Report({}, "here")

ns = Collection(who, slow, ask, fail, crash, sick, settings, words, here, trust)
'''


class Project:
    """A project with our tasks in it, and a way to run fab there."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        (desk.root / "fabfile" / "__init__.py").write_text(FABFILE)
        (desk.root / "tasks").symlink_to(REPOSITORY / "tasks")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "fabric", "-S", str(self.desk.config), *arguments]

    def fab(self, *arguments: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments),
            check=False,
            cwd=self.desk.root,
            input=stdin,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            # a test run in the background of a script has SIGINT ignored, and would hand that on
            ["env", "--default-signal=INT", *self.command(*arguments)],
            cwd=self.desk.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def project(desk: Desk, server: PrivateSshd) -> Project:
    for alias in ("vps", "a", "b"):
        desk.add_host(server, alias)
    desk.know(server.known_line())
    return Project(desk)


def test_a_task_runs_on_the_host_and_prints_its_text(project: Project) -> None:
    done = project.fab("who", "-H", "vps")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("asking\nuser ")
    assert done.stderr == ""


def test_the_fab_program_works_like_python_dash_m(project: Project) -> None:
    program = Path(sys.executable).parent / "fab"
    command = [str(program), *project.command("who", "-H", "vps")[3:]]
    done = subprocess.run(
        command, cwd=project.desk.root, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True
    )
    assert done.stdout.startswith("asking\nuser ")


def test_without_a_host_nothing_runs_and_the_exit_code_is_two(project: Project) -> None:
    done = project.fab("who")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: no host: neither -H nor DEPLOY_HOST says where to run. Next: fab who -H vps (an ssh_config alias)\n"
    )


def test_the_host_comes_from_the_settings_file(project: Project) -> None:
    (project.desk.root / ".env").write_text("DEPLOY_HOST=vps\n")
    assert project.fab("who").returncode == 0


def test_another_settings_file_is_chosen_by_the_environment(project: Project) -> None:
    (project.desk.root / ".env.staging").write_text("DEPLOY_HOST=vps\n")
    assert project.fab("who", INFRA_ENV="staging").returncode == 0
    assert project.fab("who").returncode == 2


def test_another_settings_file_is_chosen_by_the_flag_before_the_environment(project: Project) -> None:
    for name in ("staging", "other"):
        (project.desk.root / f".env.{name}").write_text("DEPLOY_HOST=vps\n")
    assert project.fab("settings", "-H", "vps").stdout == ".env -\n"
    assert project.fab("settings", "--env", "staging").stdout == ".env.staging staging\n"
    assert project.fab("settings", "--env", "staging", INFRA_ENV="other").stdout == ".env.staging staging\n"
    both = project.fab("settings", "--env", "staging", "settings", "-H", "vps")
    assert both.stdout == ".env.staging staging\n" * 2, "a command line is for one environment"


@pytest.mark.parametrize("host", [(), ("-H", "vps")])
def test_settings_of_an_environment_that_are_not_there_are_named(project: Project, host: tuple[str, ...]) -> None:
    done = project.fab("settings", "--env", "staging", *host)
    assert (done.returncode, done.stdout) == (10, "")
    assert done.stderr == ("error: .env.staging does not exist. Next: fab secrets.init --path .env.staging\n")


def test_two_environments_on_one_command_line_are_refused(project: Project) -> None:
    done = project.fab("settings", "--env", "a", "settings", "--env", "b", "-H", "vps")
    assert (done.returncode, done.stderr) == (2, "error: one command line is for one environment, not a and b\n")


def test_the_lab_that_is_not_up_is_named(project: Project) -> None:
    done = project.fab("who", "-H", "lab")
    assert done.returncode == 3
    assert done.stderr == "error: [lab] the lab is not up. Next: fab lab.up\n"


def test_tasks_on_one_command_line_share_one_connection(project: Project) -> None:
    done = project.fab("who", "who", "-H", "vps")
    ports = {line.split()[-1] for line in done.stdout.splitlines() if line.startswith("user")}
    assert done.stdout.count("user ") == 2
    assert len(ports) == 1


def test_json_is_the_only_thing_on_stdout(project: Project) -> None:
    done = project.fab("who", "--json", "-H", "vps")
    assert set(json.loads(done.stdout)) == {"user", "client_port"}
    assert "asking" in done.stderr


def test_json_of_several_hosts_is_one_document_by_host(project: Project) -> None:
    done = project.fab("who", "--json", "-H", "a,b")
    assert set(json.loads(done.stdout)) == {"a", "b"}


def test_two_hosts_run_in_parallel_prefixed_and_the_failed_one_is_named(project: Project) -> None:
    done = project.fab("fail", "--on", "b", "-H", "a,b")
    assert done.returncode == 12
    assert "[a] fine\n" in done.stdout
    assert done.stderr == ("[b] error: the step ended with status 4: no room\n1 of 2 hosts failed: b (exit 12)\n")


def test_one_after_the_other_stops_at_the_first_failure_and_says_what_runs_where(project: Project) -> None:
    done = project.fab("fail", "--on", "a", "--rolling", "1", "-H", "a,b")
    assert done.returncode == 12
    assert "fine" not in done.stdout
    assert done.stderr.splitlines()[-3:] == [
        "1 of 2 hosts failed: a (exit 12)",
        "  a (failed): up",
        "  b (not begun): up",
    ]


def test_parallel_means_at_the_same_time(project: Project, tmp_path: Path) -> None:
    process = project.start("slow", "--file", str(tmp_path / "pid"), "-H", "a,b")
    try:
        assert _wait(lambda: all((tmp_path / f"pid.{name}").exists() for name in "ab"))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_a_failed_task_keeps_the_next_from_running(project: Project) -> None:
    done = project.fab("fail", "--on", "vps", "here", "-H", "vps")
    assert done.returncode == 12
    assert "here" not in done.stdout


def test_a_report_can_be_a_failure(project: Project) -> None:
    done = project.fab("sick", "-H", "vps")
    assert (done.returncode, done.stdout) == (9, "sick\n")


def test_a_bug_keeps_its_traceback_without_the_secret(project: Project) -> None:
    done = project.fab("crash", "-H", "vps")
    assert done.returncode == 1
    assert "RuntimeError: a bug with ***" in done.stderr
    assert "hunter2-" not in done.stderr.replace('Secret("hunter2-hunter2")', "")


def test_a_bug_on_one_of_two_hosts_is_told_with_its_traceback(project: Project) -> None:
    done = project.fab("crash", "-H", "a,b")
    assert done.returncode == 1
    assert "[a] RuntimeError: a bug" in done.stderr
    assert "2 of 2 hosts failed: a (exit 1), b (exit 1)" in done.stderr


def test_a_local_task_needs_no_host(project: Project) -> None:
    assert project.fab("here").stdout == "here\n"


def test_words_after_the_dashes_reach_the_task_that_takes_them(project: Project) -> None:
    assert project.fab("words", "-H", "vps", "--", "some", "words").stdout == "some words\n"
    assert project.fab("who", "-H", "vps", "--", "rm").returncode == 2


def test_fabs_dry_run_is_refused_rather_than_ignored(project: Project) -> None:
    done = project.fab("--dry", "who", "-H", "vps")
    assert done.returncode == 2
    assert "fab plan" in done.stderr


def test_a_question_without_a_terminal_is_refused_unless_yes(project: Project) -> None:
    done = project.fab("ask", "-H", "vps", stdin="y\n")
    assert done.returncode == 2
    assert "repeat with --yes" in done.stderr
    assert project.fab("ask", "--yes", "-H", "vps").stdout == "answer: True\n"


def test_stdin_is_left_to_the_loop_around_fab(project: Project) -> None:
    fab = " ".join(project.command("who", "-H", "vps"))
    loop = f"printf '1\\n2\\n3\\n' | while read -r n; do {fab} >/dev/null && echo $n; done"
    done = subprocess.run(
        ["bash", "-c", loop], cwd=project.desk.root, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "1\n2\n3\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("hosts", ["vps", "a,b"])
def test_ctrl_c_stops_the_remote_command_too(project: Project, tmp_path: Path, hosts: str, number: int) -> None:
    process = project.start("slow", "--file", str(tmp_path / "pid"), "-H", hosts)
    files = [tmp_path / f"pid.{name}" for name in hosts.split(",")]
    assert _wait(lambda: all(file.exists() and file.read_text() for file in files))
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert _wait(lambda: all(_gone(int(file.read_text())) for file in files))


def test_no_connection_stays_open_after_the_end(project: Project, server: PrivateSshd) -> None:
    project.fab("who", "-H", "vps")
    assert _wait(lambda: not server.session_pids())


def test_help_and_list_work_as_ever(project: Project) -> None:
    listing = project.fab("--list").stdout
    assert "Fetch the host's key" in listing
    shown = project.fab("--help", "trust").stdout
    assert "--fingerprint=STRING" in shown
    assert "Accept the key that is shown without asking." in shown


def test_trust_asks_on_a_terminal_and_the_host_is_trusted_then(project: Project, server: PrivateSshd) -> None:
    project.desk.known_hosts.unlink()
    assert project.fab("who", "-H", "vps").returncode == 4
    answer, shown = _on_a_terminal(project, project.command("trust", "-H", "vps"), b"y\n")
    assert answer == 0, shown
    assert "Is that the fingerprint" in shown
    assert project.fab("who", "-H", "vps").returncode == 0


def _on_a_terminal(project: Project, command: list[str], typed: bytes) -> tuple[int, str]:
    near, far = os.openpty()
    process = subprocess.Popen(command, cwd=project.desk.root, stdin=far, stdout=far, stderr=far)
    os.close(far)
    shown = b""
    reader_done = threading.Event()

    def read() -> None:
        nonlocal shown
        while True:
            try:
                data = os.read(near, 4096)
            except OSError:
                break
            if not data:
                break
            shown += data
            if b"[y/N]" in shown and not reader_done.is_set():
                reader_done.set()
                os.write(near, typed)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    code = process.wait(timeout=30)
    thread.join(timeout=2)
    os.close(near)
    return code, shown.decode()


def _gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text()


def _wait(condition: "object", seconds: float = 15) -> bool:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False
