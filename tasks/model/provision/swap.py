"""A swap file for small hosts: when PostgreSQL and the page server peak together, they get slow instead of killed."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.model.facts import Facts
from tasks.model.provision.step import Step, body

PATH = "/swapfile"
ENOUGH_MEMORY = 4 * 1024**3  # bytes; a host with more gets none
SIZE = 2 * 1024**3  # bytes
_ROOM = SIZE + 5 * 1024**3  # bytes that must be free for it
_FILESYSTEMS = ("ext2/ext3", "xfs")  # ext4 calls itself that; btrfs and zfs need other preparations


def steps(facts: Facts) -> Iterator[Step]:
    """The swap file where it is wanted, can be had, and is not there or would not come back after a boot."""
    if _wanted(facts) and left_out(facts) is None:
        why = f"no swap, and less than {ENOUGH_MEMORY >> 30} GiB of memory"
    elif facts.swap > 0 and PATH in facts.entries and not facts.swap_in_fstab:
        why = f"{PATH} is not in /etc/fstab: it would be gone after a boot"
    else:
        return
    yield Step("swap", why, body("swap.sh", variables={"SWAP_FILE": PATH, "SIZE": str(SIZE)}))


def left_out(facts: Facts) -> str | None:
    """Why there will be no swap file although the host could use one, or None."""
    if not _wanted(facts):
        return None
    if facts.is_container:
        return f"no swap file: this host is a container ({facts.container}), swap belongs to the machine under it"
    if facts.swap_in_fstab:
        return "no swap file: /etc/fstab names a swap area that is not in use"
    if facts.root_filesystem not in _FILESYSTEMS:
        return f"no swap file: not on a {facts.root_filesystem} file system"
    if facts.root_free < _ROOM:
        return "no swap file: not enough room on the disk"
    return None


def _wanted(facts: Facts) -> bool:
    return facts.swap == 0 and facts.memory < ENOUGH_MEMORY
