import subprocess
from pathlib import Path

from tests.lab import files, names


def test_the_first_host_is_lab_and_the_others_are_numbered() -> None:
    assert [names.alias(n) for n in (1, 2, 3)] == ["lab", "lab2", "lab3"]
    assert [names.container(n) for n in (1, 2)] == ["lab-vps1", "lab-vps2"]
    assert [names.address(n) for n in (1, 2)] == ["172.31.213.11", "172.31.213.12"]


def test_ssh_itself_reads_the_configuration_as_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "ssh_config"
    path.write_text(files.ssh_config([1, 2]))
    said = subprocess.run(["ssh", "-F", str(path), "-G", "lab2"], capture_output=True, text=True, check=True).stdout
    found = dict(line.split(" ", 1) for line in said.splitlines())
    assert (found["hostname"], found["user"], found["port"]) == ("172.31.213.12", "admin", "22")
    assert found["identityfile"] == str(files.KEY)
    assert Path(found["identityfile"]).is_absolute()
    assert found["identitiesonly"] == "yes"
    assert found["userknownhostsfile"] == str(files.KNOWN_HOSTS)
    assert found["stricthostkeychecking"] in {"yes", "true"}


def test_every_host_key_is_known_under_every_name_of_the_host() -> None:
    assert files.known_hosts({2: ["ssh-ed25519 AAAA"], 1: ["ssh-ed25519 BBBB", "ssh-rsa CCCC"]}) == (
        "172.31.213.11,lab,lab-vps1 ssh-ed25519 BBBB\n"
        "172.31.213.11,lab,lab-vps1 ssh-rsa CCCC\n"
        "172.31.213.12,lab2,lab-vps2 ssh-ed25519 AAAA\n"
    )
