import json

from tasks.core.settings.schema import BY_NAME
from tests.lab import build, catalogue


def test_parents_come_before_their_children() -> None:
    seen: set[str] = set()
    for image in catalogue.images():
        assert seen >= set(image.parents), image.name
        seen.add(image.name)


def test_every_build_has_a_context_with_a_dockerfile() -> None:
    assert [i.name for i in catalogue.images() if not (i.directory / "Dockerfile").is_file()] == []


def test_the_stand_ins_answer_to_the_toolkit_s_own_default_references() -> None:
    defaults = {name: BY_NAME[name].default for name in catalogue.OFFICIAL if name in BY_NAME}
    assert {name: catalogue.OFFICIAL[name] for name in defaults} == defaults


def test_the_application_comes_in_three_versions_that_differ_in_arguments_only() -> None:
    for name in ("backend", "frontend"):
        versions = [i for i in catalogue.images() if (i.stands_for or "").startswith(f"maicivy/{name}:")]
        assert [i.stands_for for i in versions] == [f"maicivy/{name}:{v}" for v in ("1.0.0", "1.1.0", "2.0.0-broken")]
        assert {(i.directory, i.parents) for i in versions} == {(catalogue.APP / "version", (f"{name}-build",))}


def test_docker_hub_s_own_images_are_published_below_library() -> None:
    assert catalogue.repository("redis:8.0.5") == "library/redis:8.0.5"
    assert catalogue.repository("prom/prometheus:v3.5.3") == "prom/prometheus:v3.5.3"


def test_a_change_of_a_parent_changes_the_digest_of_its_children_and_of_nobody_else() -> None:
    table = catalogue.images()
    before = build.digests(table)
    changed = tuple(
        catalogue.Image(i.name, i.directory, i.parents, {**i.arguments, "X": "1"}) if i.name == "busybox" else i
        for i in table
    )
    after = build.digests(changed)
    assert {name for name in before if before[name] != after[name]} == {
        "busybox",
        "prometheus",
        "alertmanager",
        "node-exporter",
    }


def test_the_lock_file_pins_every_package_by_digest_and_names_no_registry() -> None:
    text = (catalogue.APP / "frontend" / "package-lock.json").read_text()
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert packages
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []
    assert "resolved" not in text
    assert "http://" not in text.replace("http://opencollective", "")
