"""The programs of a database's own image: pg_dump, psql, redis-cli, in containers thrown away afterwards.

Always those of the running server's image: another version's dump or restore differently, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from host import compose, health, process
from host.compose import Container
from host.config import Config
from host.errors import Failure
from host.process import Done

PURPOSES = ("backup", "restore", "drill", "try", "recover")
"""What throwaway containers are for: each is the end of the name of one."""
_QUICK = 60.0  # seconds
# Programs must not wait for each other's place: the databases and the application come first.
_LIMITS = ("--pids-limit", "256", "--cpu-shares", "512")
_CONFINED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
_LOGIN = 'export {variable}="$(cat /run/secrets/password)"; exec "$@"'
_VARIABLES = {"postgres": "PGPASSWORD", "redis": "REDISCLI_AUTH"}


def server(config: Config, service: str) -> Container:
    """The running container of a service. Raises Failure when it does not run."""
    container = health.of_service(compose.containers(config), service)
    if container is None or container.state != "running":
        raise Failure(f"{service} does not run", hint="look at: docker ps -a; start it: fab deploy")
    return container


def of_id(container: str, service: str) -> Container:
    """A throwaway server, as far as a client beside it has to know it. Raises Failure when there is none."""
    image = process.run(["docker", "inspect", "--format", "{{.Image}}", container], deadline=_QUICK).text.strip()
    return Container(service, container, image, "running", "", 0, 0, False, "", container, image_id=image)


def _container(config: Config, image: str, purpose: str, network: str, options: Sequence[str]) -> list[str]:
    return [
        "docker", "run", "--name", f"{config.app}-{purpose}", "--pull", "never",
        "--network", network, "--log-driver", "none", *_CONFINED, *_LIMITS, *options,
    ]  # fmt: skip


def beside(
    config: Config,
    container: Container,
    words: Sequence[str],
    *,
    purpose: str,
    mounts: Mapping[Path, str],
    deadline: float,
    user: str = "0:0",
    memory: str = "512m",
    login: Path | None = None,
    check: bool = True,
    stdin: bytes | None = None,
    tick: Callable[[], None] | None = None,
) -> Done:
    """Run a program of `container`'s image in a container of its own that shares its network: the server is 127.0.0.1.

    `mounts` are host directories and where they are seen; `purpose` names the container, of which there is one at a
    time; `login` is the directory whose file `password` it logs in with: mounted, and in no command line. What it
    writes is root's. Raises as `process.run`.
    """
    clear(config, purpose)
    argv = command(config, container, words, purpose=purpose, mounts=mounts, user=user, memory=memory, login=login)
    try:
        return process.run(argv, deadline=deadline, check=check, stdin=stdin, tick=tick)
    except BaseException:
        clear(config, purpose)  # the docker command is gone, what it started is not
        raise


def command(
    config: Config,
    container: Container,
    words: Sequence[str],
    *,
    purpose: str,
    mounts: Mapping[Path, str],
    user: str,
    memory: str,
    login: Path | None,
) -> list[str]:
    """The command line of `beside`, for a program that is not waited for."""
    binds = [word for path, seen in mounts.items() for word in ("-v", f"{path}:{seen}")]
    options = ["--rm", "-i", "--init", "--user", user, "--memory", memory, "--tmpfs", "/tmp", *binds]  # noqa: S108  (inside the container)
    entry = list(words)
    if login is not None:
        options += ["-v", f"{login}:/run/secrets:ro"]
        entry = ["sh", "-c", _LOGIN.format(variable=_VARIABLES[container.service]), "sh", *entry]
    argv = _container(config, container.image_id, purpose, f"container:{container.id}", options)
    return [*argv, "--entrypoint", entry[0], container.image_id, *entry[1:]]


def start(
    config: Config,
    image: str,
    words: Sequence[str],
    *,
    purpose: str,
    options: Sequence[str],
    memory: int,
) -> str:
    """Start a server of that image without any network, with at most `memory` bytes; returns its container's id."""
    clear(config, purpose)
    limits = ["-d", "--memory", str(memory), "--memory-swap", str(memory), *options]
    argv = _container(config, image, purpose, "none", limits)
    return process.run([*argv, image, *words], deadline=_QUICK).text.strip()


def inside(
    name: str, words: Sequence[str], *, deadline: float, stdin: bytes | None = None, check: bool = True,
    environment: Sequence[str] = (), tick: Callable[[], None] | None = None,
) -> Done:  # fmt: skip
    """Run a program inside a running container, with words of `environment` (NAME=value, nothing secret)."""
    variables = [word for item in environment for word in ("-e", item)]
    argv = ["docker", "exec", "-i", *variables, name, *words]
    return process.run(argv, deadline=deadline, stdin=stdin, check=check, tick=tick)


def clear(config: Config, purpose: str) -> None:
    """Remove the container of that purpose and its anonymous volumes, if there is one."""
    process.run(["docker", "rm", "-f", "-v", f"{config.app}-{purpose}"], deadline=_QUICK, check=False)


def sweep(config: Config) -> None:
    """Remove every throwaway container that a killed command left. The caller holds the host's lock."""
    names = [f"{config.app}-{purpose}" for purpose in PURPOSES]
    process.run(["docker", "rm", "-f", "-v", *names], deadline=_QUICK, check=False)
