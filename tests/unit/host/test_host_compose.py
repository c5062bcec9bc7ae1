"""Tidying up after a Compose that was killed while it replaced a container."""

from __future__ import annotations

from host.compose import Container, mending


def container(name: str, number: int) -> Container:
    return Container("backend", name, "backend:1", "running", "healthy", 0, 0, False, "2026", f"id{number}")


def test_nothing_is_done_where_nothing_is_half_made() -> None:
    assert mending([container("shop-backend-1", 1), container("my_shop-web-1", 2)]) == []


def test_a_new_container_whose_predecessor_is_still_there_is_taken_away() -> None:
    found = [container("0123456789ab_shop-backend-1", 2), container("shop-backend-1", 1)]
    assert mending(found) == [["docker", "rm", "-f", "id2"]]


def test_a_new_container_whose_predecessor_is_gone_gets_its_name() -> None:
    assert mending([container("0123456789ab_shop-backend-1", 2)]) == [["docker", "rename", "id2", "shop-backend-1"]]


def test_of_two_half_made_containers_one_gets_the_name_and_the_other_goes() -> None:
    found = [container("0123456789ab_shop-backend-1", 2), container("ba9876543210_shop-backend-1", 3)]
    assert mending(found) == [["docker", "rename", "id2", "shop-backend-1"], ["docker", "rm", "-f", "id3"]]
