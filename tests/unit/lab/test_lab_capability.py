import pytest

from tests.lab.capability import CAP_SYS_RESOURCE, SYSTEMD_ON_CGROUP_1, Machine, has_capability, host_flags

EVERYTHING = "Name:\tpython\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\n"
WITHOUT_SYS_RESOURCE = "CapBnd:\t000001fffeffffff\n"


def test_the_bounding_set_counts_and_not_what_this_process_holds() -> None:
    assert has_capability(EVERYTHING, CAP_SYS_RESOURCE)
    assert not has_capability(WITHOUT_SYS_RESOURCE, CAP_SYS_RESOURCE)


def test_a_machine_that_does_not_say_is_taken_for_a_whole_one() -> None:
    assert has_capability("", CAP_SYS_RESOURCE)


def test_a_modern_machine_gets_the_plain_form() -> None:
    chosen = host_flags(Machine(cgroup=2, sys_resource=True))
    assert chosen.flags == ("--privileged", "--cgroupns=private")
    assert chosen.command == ("/sbin/init",)


def test_cgroup_1_mounts_the_hierarchies_and_tells_systemd_that_it_is_meant() -> None:
    chosen = host_flags(Machine(cgroup=1, sys_resource=True))
    assert "--cgroupns=host" in chosen.flags
    assert "/sys/fs/cgroup:/sys/fs/cgroup:rw" in chosen.flags
    assert chosen.command == ("/sbin/init", SYSTEMD_ON_CGROUP_1)


@pytest.mark.parametrize("cgroup", [1, 2])
def test_without_sys_resource_nothing_asks_for_it(cgroup: int) -> None:
    flags = host_flags(Machine(cgroup=cgroup, sys_resource=False)).flags
    assert "--privileged" not in flags
    assert flags[flags.index("--cap-drop") + 1] == "SYS_RESOURCE"
    assert flags[flags.index("--cap-add") + 1] == "ALL"
