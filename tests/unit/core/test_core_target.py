"""From a name to a target: the lab's names, the user's, and the settings file that goes with each."""

from pathlib import Path

import pytest

from tasks.core.errors import Unreachable, UsageError
from tasks.core.target import Workplace, resolve


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    config = tmp_path / "ssh_config"
    config.write_text("Host vps\n  HostName 203.0.113.5\n  UserKnownHostsFile /mine\n  GlobalKnownHostsFile /theirs\n")
    return Workplace(tmp_path, ssh_config=config)


def test_an_alias_is_resolved_by_ssh_and_knows_the_projects_keys_first(place: Workplace) -> None:
    target = resolve("deploy@vps:2200", place)
    assert (target.name, target.hop.address, target.hop.port, target.hop.user) == (
        "deploy@vps:2200",
        "203.0.113.5",
        2200,
        "deploy",
    )
    assert target.hop.known_hosts == (place.root / ".fab/known_hosts", Path("/mine"), Path("/theirs"))
    assert target.trust_file == place.root / ".fab/known_hosts"
    assert target.settings_file == place.root / ".env"


def test_an_environment_has_its_own_settings_file(place: Workplace) -> None:
    staging = Workplace(place.root, place.ssh_config, environment="staging")
    assert resolve("vps", staging).settings_file == place.root / ".env.staging"


def test_a_target_knows_its_environment(place: Workplace) -> None:
    staging = Workplace(place.root, place.ssh_config, environment="staging")
    assert (resolve("vps", staging).environment, resolve("vps", place).environment) == ("staging", "")


@pytest.fixture
def lab(place: Workplace) -> Workplace:
    (place.root / ".lab").mkdir()
    (place.root / ".lab" / "ssh_config").write_text("Host lab lab2\n  User root\nHost lab\n  HostName 172.31.213.11\n")
    return place


def test_the_lab_has_its_own_configuration_keys_and_settings(lab: Workplace) -> None:
    target = resolve("lab", lab)
    assert target.hop.address == "172.31.213.11"
    assert target.hop.known_hosts == (lab.root / ".lab/known_hosts",)
    assert (target.settings_file, target.trust_file) == (lab.root / ".lab/env", lab.root / ".lab/known_hosts")


def test_an_environment_of_the_lab_has_its_settings_beside_the_others(lab: Workplace) -> None:
    assert resolve("lab", Workplace(lab.root, environment="staging")).settings_file == lab.root / ".lab/env.staging"


def test_a_lab_that_is_not_up_says_how_to_start_it(place: Workplace) -> None:
    with pytest.raises(Unreachable) as caught:
        resolve("lab", place)
    assert caught.value.one_line() == "error: [lab] the lab is not up. Next: fab lab.up"


def test_a_lab_host_that_the_lab_does_not_have_is_not_up_either(lab: Workplace) -> None:
    with pytest.raises(Unreachable, match="not up"):
        resolve("lab7", lab)


def test_a_users_own_alias_called_lab_is_respected(place: Workplace) -> None:
    assert place.ssh_config
    place.ssh_config.write_text("Host lab\n  HostName 198.51.100.7\n")
    assert resolve("lab", place).hop.address == "198.51.100.7"


def test_a_configuration_that_ssh_refuses_is_a_usage_error(place: Workplace) -> None:
    assert place.ssh_config
    place.ssh_config.write_text("Nonsense yes\n")
    with pytest.raises(UsageError, match="ssh does not accept vps"):
        resolve("vps", place)
