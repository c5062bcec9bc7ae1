"""From the name the user typed to the way there: `ssh -G` is asked, so Include, Match and tokens work as with ssh."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.errors import Unreachable, UsageError
from tasks.core.sshconfig import Hop, hop_from_settings, parse_settings, split_shorthand

_LAB = re.compile(r"lab\d*\Z")
_QUERY_SECONDS = 20.0  # `Match exec` may run anything, but not for ever


@dataclass(frozen=True)
class Target:
    """Where a task runs.

    name: the alias as typed. hop: the host itself. gateways: the hops before it, in the order they are passed.
    settings_file: the env file that belongs to it. trust_file: the known_hosts file `fab trust` writes to.
    in_lab: whether it is one of the lab's, whose names no public DNS knows.
    environment: the name of the environment the settings are of, "" for the one without a name.
    """

    name: str
    hop: Hop
    gateways: tuple[Hop, ...]
    settings_file: Path
    trust_file: Path
    in_lab: bool = False
    environment: str = ""


@dataclass(frozen=True)
class Workplace:
    """What names are resolved against: the project's root, `fab -S` (or None), `fab -i`, and INFRA_ENV or --env."""

    root: Path
    ssh_config: Path | None = None
    identities: tuple[Path, ...] = ()
    environment: str = ""

    @property
    def settings_file(self) -> Path:
        """`.env`, or `.env.NAME` for the environment NAME."""
        return self.root / self._of_environment(".env")

    @property
    def lab_settings_file(self) -> Path:
        """The same for the hosts of the lab: `.lab/env`, or `.lab/env.NAME`."""
        return self.root / ".lab" / self._of_environment("env")

    def _of_environment(self, name: str) -> str:
        return f"{name}.{self.environment}" if self.environment else name


def project_root() -> Path:
    """The checkout these modules belong to, else the nearest parent of the working directory with a fabfile."""
    # absolute(), not resolve(): a project may link to a shared copy of `tasks` and still keep its own .env and .fab.
    own = Path(__file__).absolute().parents[2]
    candidates = [own, *(d for d in (Path.cwd(), *Path.cwd().parents))]
    return next((d for d in candidates if (d / "fabfile").exists() or (d / "fabfile.py").exists()), own)


def resolve(name: str, place: Workplace) -> Target:
    """Find out how to reach `name` (an alias, or user@host:port).

    Runs `ssh -G` once for the host and once for each gateway; contacts nothing.
    Raises UsageError for a name or configuration ssh does not accept, Unreachable when it is a lab that is not up.
    """
    user, host, port = split_shorthand(name)
    in_lab = bool(_LAB.match(host)) and (place.root / ".lab" / "ssh_config").is_file()
    if in_lab:
        resolver = _Resolver(place, place.root / ".lab" / "ssh_config", place.root / ".lab" / "known_hosts", only=True)
        settings_file = place.lab_settings_file
    else:
        resolver = _Resolver(place, place.ssh_config, place.root / ".fab" / "known_hosts")
        settings_file = place.settings_file
    hop, gateways = resolver.path_to(user, host, port)
    if _LAB.match(host) and hop.address == host and not hop.proxy_command:
        # No alias of that name: the resolver would hand "lab" to DNS and blame the network.
        raise Unreachable("the lab is not up", host=name, hint="fab lab.up")
    return Target(name, hop, gateways, settings_file, resolver.trust_file, in_lab, place.environment)


@dataclass
class _Resolver:
    place: Workplace
    config: Path | None
    trust_file: Path
    only: bool = False  # the lab's keys are pinned in one file; the user's own known_hosts has no say
    _seen: list[str] = field(default_factory=list)

    def path_to(self, user: str | None, host: str, port: int | None) -> tuple[Hop, tuple[Hop, ...]]:
        hop, jumps = self._hop(user, host, port)
        if not jumps or host in {split_shorthand(jump)[1] for jump in jumps}:
            return hop, ()  # `Host *` with ProxyJump matches the gateway itself, which ssh ignores too
        if host in self._seen:
            raise UsageError(f"ProxyJump goes in a circle at {host}", hint=f"ssh -G {host} | grep -i proxyjump")
        self._seen.append(host)
        # As with ssh: only the first jump may have gateways of its own, each later one is reached through the former.
        first, before = self.path_to(*split_shorthand(jumps[0]))
        path = [*before, first, *(self._hop(*split_shorthand(jump))[0] for jump in jumps[1:])]
        return hop, tuple(path)

    def _hop(self, user: str | None, host: str, port: int | None) -> tuple[Hop, tuple[str, ...]]:
        settings = parse_settings(_ask_ssh(user, host, port, self.config))
        known = (self.trust_file,) if self.only else None
        hop = hop_from_settings(host, settings, identities=self.place.identities, known_hosts=known)
        if known is None:
            hop = hop.also_knowing(self.trust_file)
        jump = settings.get("proxyjump", ["none"])[0]
        return hop, () if jump.lower() == "none" else tuple(jump.removeprefix("ssh://").split(","))


def _ask_ssh(user: str | None, host: str, port: int | None, config: Path | None) -> str:
    argv = ["ssh", "-G"]
    argv += ["-F", str(config)] if config else []
    argv += ["-l", user] if user else []
    argv += ["-p", str(port)] if port else []
    try:
        answer = subprocess.run(
            [*argv, "--", host],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_QUERY_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise UsageError("the ssh program is not installed here", hint="apt-get install openssh-client") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"ssh -G {host} did not answer in {_QUERY_SECONDS:g} s", hint="look for Match exec") from None
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise UsageError(f"ssh does not accept {host}: {said[-1]}", hint=f"ssh -G {host}")
    return answer.stdout.decode("utf-8", "replace")
