"""The doctor: content with a host that is well, and naming each thing that is not, with what to type."""

from __future__ import annotations

from tests.e2e.world import APP, Project, Watch, inside

# how to break it, and what the finding is called
BROKEN = {
    "systemctl disable --now certbot.timer": "units",
    f"chmod 0777 /opt/{APP}/shared/state": "directories",
    "ufw delete allow 80/tcp": "firewall",
    f"rm /etc/apt/apt.conf.d/52{APP}-upgrades": "upgrades",
    f"rm /etc/published-ports/{APP}": "published-ports",
    f"sed -i 's/500M/900M/' /etc/systemd/journald.conf.d/60-{APP}.conf": "journal",
}


def test_a_host_that_is_well_has_no_error(project: Project, deployed: Watch) -> None:
    report = project.json("doctor", "-H", "lab")
    assert report["ok"] is True
    assert [finding for finding in report["findings"] if finding["grade"] == "error"] == []
    names = {finding["name"] for finding in report["findings"]}
    assert {
        "settings",
        "libraries",
        "key",
        "port 22",
        "port 443",
        "https /",
        "certificate",
        "firewall",
        "setup",
    } <= names


def test_whatever_is_broken_is_named_with_its_fix_and_the_fix_mends_it(project: Project, deployed: Watch) -> None:
    for command in BROKEN:
        inside("sh", "-c", command)
    report = project.json("doctor", "-H", "lab", expect=9)
    wrong = {finding["name"]: finding for finding in report["findings"] if finding["grade"] == "error"}
    for name in BROKEN.values():
        assert wrong[name]["fix"] == "fab setup -H lab", name
    project.fab("setup", "-H", "lab", "--yes")
    assert project.json("setup", "-H", "lab", "--dry-run")["steps"] == []
    assert project.json("doctor", "-H", "lab")["ok"] is True


def test_a_file_that_was_changed_by_hand_and_a_stopped_container_are_named(project: Project, deployed: Watch) -> None:
    path = f"/opt/{APP}/live/nginx/pages/ok.txt"
    inside("sh", "-c", f"cp -p {path} /root/kept && echo changed >> {path} && docker stop {APP}-node-exporter-1")
    try:
        report = project.json("doctor", "-H", "lab", expect=9)
        wrong = {finding["name"]: finding["what"] for finding in report["findings"] if finding["grade"] == "error"}
        assert "nginx/pages/ok.txt" in wrong["drift"]
        assert "exited" in wrong["container node-exporter"]
    finally:
        inside("sh", "-c", f"cp -p /root/kept {path} && docker start {APP}-node-exporter-1")


def test_what_can_be_seen_from_here_is_told_when_the_host_cannot_be_reached(project: Project, lab: None) -> None:
    done = project.fab("doctor", "-H", "lab:2222", expect=3)
    assert "settings" in done.stdout
    assert "login" in done.stdout
