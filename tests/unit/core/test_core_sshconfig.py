"""What `ssh -G` answers becomes a hop."""

from pathlib import Path

import pytest

from tasks.core.errors import UsageError
from tasks.core.sshconfig import hop_from_settings, parse_settings, split_shorthand


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("vps", (None, "vps", None)),
        ("deploy@vps", ("deploy", "vps", None)),
        ("deploy@203.0.113.5:2222", ("deploy", "203.0.113.5", 2222)),
        ("vps:2222", (None, "vps", 2222)),
        ("2001:db8::1", (None, "2001:db8::1", None)),
        ("root@[2001:db8::1]:2222", ("root", "2001:db8::1", 2222)),
        ("[::1]", (None, "::1", None)),
        ("a@b@vps", ("a@b", "vps", None)),
        (" vps ", (None, "vps", None)),
    ],
)
def test_a_name_is_taken_apart(name: str, parts: tuple[str | None, str, int | None]) -> None:
    assert split_shorthand(name) == parts


@pytest.mark.parametrize(
    "name", ["", "-oProxyCommand=id", "a b", "vps:", "vps:x", "vps:0", "vps:70000", "@vps", "-l@vps", "a;id"]
)
def test_what_is_no_host_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="is not a host"):
        split_shorthand(name)


def _hop(text: str, **options: object) -> object:
    return hop_from_settings("vps", parse_settings(text), **options)  # type: ignore[arg-type]


def test_values_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    hop = hop_from_settings(
        "vps",
        parse_settings(
            "hostname 203.0.113.5\nport 2222\nuser deploy\nidentityfile ~/.ssh/a\nidentityfile ~/.ssh/%h\n"
            "userknownhostsfile ~/one ~/two\nglobalknownhostsfile /etc/three\nidentitiesonly yes\n"
            "connecttimeout none\nserveraliveinterval 0\nproxycommand none\n"
        ),
        identities=(Path("/given"),),
    )
    assert (hop.address, hop.port, hop.user, hop.key_name) == ("203.0.113.5", 2222, "deploy", "[203.0.113.5]:2222")
    assert hop.identities == (Path("/given"), Path("/home/me/.ssh/a"), Path("/home/me/.ssh/203.0.113.5"))
    assert hop.known_hosts == (Path("/home/me/one"), Path("/home/me/two"), Path("/etc/three"))
    assert hop.identities_only
    assert (hop.agent, hop.proxy_command) == ("", "")
    assert (hop.connect_timeout, hop.patience) == (10.0, 12)


def test_port_22_leaves_the_name_bare_and_lower_case() -> None:
    assert (
        hop_from_settings("v", parse_settings("hostname VPS.example.com\nport 22\nuser x")).key_name
        == "vps.example.com"
    )


def test_a_host_key_alias_is_the_name_without_a_port() -> None:
    assert hop_from_settings("v", parse_settings("port 2222\nuser x\nhostkeyalias Real")).key_name == "real"


def test_server_alive_settings_are_honoured() -> None:
    hop = hop_from_settings("v", parse_settings("user x\nserveraliveinterval 20\nserveralivecountmax 2"))
    assert (hop.alive_interval, hop.patience) == (20, 40)


def test_a_proxy_commands_tokens_are_expanded() -> None:
    hop = hop_from_settings("v", parse_settings("hostname h\nport 7\nuser u\nproxycommand nc -x %% %h %p %r %n"))
    assert hop.proxy_command == "nc -x % h 7 u v"


@pytest.mark.parametrize(
    ("line", "agent"),
    [
        ("identityagent none", None),
        ("identityagent SSH_AUTH_SOCK", ""),
        ("identityagent /run/%r.sock", "/run/u.sock"),
        ("identityagent $AGENT_HERE", "/here"),
    ],
)
def test_the_agent_is_the_one_the_configuration_names(
    line: str, agent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_HERE", "/here")
    assert hop_from_settings("v", parse_settings(f"user u\n{line}")).agent == agent


def test_known_hosts_can_be_pinned_and_one_can_be_added() -> None:
    hop = hop_from_settings("v", parse_settings("user u\nuserknownhostsfile /a"), known_hosts=(Path("/only"),))
    assert hop.known_hosts == (Path("/only"),)
    assert hop.also_knowing(Path("/first")).known_hosts == (Path("/first"), Path("/only"))
