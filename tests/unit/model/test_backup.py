"""How much could be lost and how long a restore takes, from what the host says of its backups."""

from __future__ import annotations

from typing import Any

from tasks.model import backup

NOW = 1_795_000_000.0
HOUR, DAY = 3600.0, 86400.0
URL = "s3:https://s3.test/b"


def row(age: float, *, copied: bool | None = None, drills: list[dict[str, Any]] | None = None, **other: Any) -> Any:
    copies = [{"remote": URL, **({} if copied is None else {"ok": copied, "cause": "" if copied else "full"})}]
    base = {"kind": "postgres", "id": f"b{age:.0f}", "taken": NOW - age, "verified": {"at": 0}, "bytes": 5,
            "suspicious": "", "holds": {"rows": 1234}, "drills": drills or [], "copies": copies}  # fmt: skip
    return {**base, **other}


def objective(rows: list[Any], place: str) -> dict[str, Any]:
    [found] = [each for each in backup.objectives(rows, NOW) if each["place"] == place]
    return found


def test_what_could_be_lost_is_the_longest_gap_of_the_week() -> None:
    rows = [row(HOUR), row(3 * HOUR), row(30 * HOUR), row(20 * DAY)]
    assert objective(rows, "this host") == {
        "kind": "postgres", "place": "this host", "newest": "b3600", "rpo": 27 * HOUR, "rto": None,
    }  # fmt: skip


def test_backups_that_have_stopped_lose_all_since_the_last() -> None:
    assert objective([row(20 * DAY), row(21 * DAY)], "this host")["rpo"] == 20 * DAY


def test_a_remote_counts_only_what_was_proven_there_and_drilled_from_there() -> None:
    drills = [
        {"at": 1, "ok": True, "seconds": 4.5, "source": "local"},
        {"at": 2, "ok": True, "seconds": 9.0, "source": URL},
        {"at": 3, "ok": False, "seconds": 1.0, "source": URL},
    ]
    rows = [row(HOUR, copied=False), row(30 * HOUR, copied=True, drills=drills)]
    assert objective(rows, URL)["rpo"] == 30 * HOUR
    assert objective(rows, URL)["rto"] == 9.0
    assert objective(rows, "this host")["rto"] == 4.5


def test_nothing_good_means_everything_could_be_lost() -> None:
    found = objective([row(HOUR, verified=None, copied=False)], URL)
    assert (found["newest"], found["rpo"]) == ("", None)
    assert "everything" in backup.describe_objectives([found])
    assert "not tried" in backup.describe_objectives([found])


def test_the_list_says_of_each_copy_whether_it_is_there() -> None:
    text = backup.describe([row(HOUR, copied=True), row(2 * HOUR, copied=False), row(3 * HOUR)], {}, None, NOW)
    assert text.count(f"{URL}: copied") == 1
    assert f"{URL}: NOT COPIED: full" in text
    assert f"{URL}: no copy" in text


def test_what_the_remotes_have_newest_first() -> None:
    told = [{"remote": URL, "cause": "", "copies": [{"kind": "redis", "id": "1"}, {"kind": "redis", "id": "2"}]},
            {"remote": "sftp://x", "cause": "gone", "copies": []}]  # fmt: skip
    assert backup.copies(told) == f"{URL}: 2 copies\n  redis    2\n  redis    1\nsftp://x: gone"


PAST = {"since": NOW - 3 * DAY, "receiving": True, "behind": 0, "bytes": 3 << 20, "cause": ""}


def test_the_list_says_how_far_back_postgresql_can_go_and_whether_its_log_comes_in() -> None:
    text = backup.describe([row(HOUR)], {}, PAST, NOW)
    assert "any moment of the last 3 d" in text
    assert "its log is received" in text
    assert "NOT RECEIVED NOW: gone" in backup.describe([], {}, {**PAST, "receiving": False, "cause": "gone"}, NOW)
    assert "fab backup.base" in backup.describe([], {}, {**PAST, "since": None}, NOW)


def test_by_the_log_only_what_has_not_arrived_is_lost_and_a_restore_takes_both_ways() -> None:
    drills = [{"at": 1, "ok": True, "seconds": 20.0, "source": "local", "data_age": 0.4}]
    rows = [row(HOUR, kind="base", drills=drills), row(HOUR, drills=[{**drills[0], "seconds": 7.0}])]
    found = {each["place"]: each for each in backup.objectives(rows, NOW, PAST)}
    assert found[backup.LOG]["rpo"] == 0.4
    assert found[backup.LOG]["rto"] == 27.0
    assert {each["kind"] for each in found.values()} == {"postgres"}
    stopped = backup.objectives(rows, NOW, {**PAST, "receiving": False})
    assert [each["rpo"] for each in stopped if each["place"] == backup.LOG] == [None]
    assert "not tried" in backup.describe_objectives(stopped)


def test_before_going_back_to_a_moment_what_there_is_now_is_shown() -> None:
    part = {"database": "shop", "there": True, "live_rows": 5, "live_tables": 2, "live_bytes": 10}
    told = {"database": "shop", "source": "at:1", "taken": NOW - 600, "now": NOW, "base": "b1", "parts": [part]}
    text = "\n".join(backup.replaced(told))
    assert "goes back to 10 min ago, from base backup b1" in text
    assert "database shop has 5 rows in 2 tables" in text
