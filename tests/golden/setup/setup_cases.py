"""Golden cases of the setup plan: facts in, exact steps out. Run as a script, it writes what comes out anew."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tasks.core.errors import Refused  # noqa: E402
from tasks.model.facts import Facts, parse  # noqa: E402
from tasks.model.provision.step import PROLOGUE  # noqa: E402
from tasks.model.setup import Wanted, plan, remarks  # noqa: E402

FACTS = ROOT / "tests" / "fixtures" / "facts"
BODIES = ROOT / "tasks" / "model" / "provision" / "steps"
INPUT = ("facts", "edits", "wanted", "only")
CASES = sorted((HERE / "cases").glob("*.json"))
DEFAULTS = {
    "app": "maicivy",
    "deploy_user": "deploy",
    "docker_source": "distribution",
    "program": "0" * 64,
    "client_kex": ["mlkem768x25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"],
}


def read(path: Path) -> dict[str, Any]:
    """A case: `facts` (a fixture), `edits` (pairs of old and new text in it), `wanted`, and what must come out.

    With `only`, the names of the steps that the case is about, the others are left out.
    """
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return case


def facts_of(case: dict[str, Any]) -> Facts:
    text = (FACTS / case["facts"]).read_text(encoding="utf-8")
    for old, new in case.get("edits", []):
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {case['facts']}"
        text = text.replace(old, new)
    return parse(text.encode())


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    """What setup makes of the case, in the form that the files have."""
    facts, wanted = facts_of(case), Wanted(**{**DEFAULTS, **case.get("wanted", {})})
    try:
        steps = plan(facts, wanted)
    except Refused as error:
        return {"refused": error.one_line()}
    only = case.get("only")
    shown = [
        {
            "name": step.name,
            "why": step.why,
            "via": step.via,
            "script": shorten(step.script).splitlines(),
            **({"undo": shorten(step.undo).splitlines(), "login": step.login} if step.undo else {}),
        }
        for step in steps
        if only is None or step.name in only
    ]
    return {"remarks": remarks(facts, wanted), "steps": shown}


def shorten(script: str) -> str:
    """The script with the parts that never vary named instead of repeated; everything else stays to the letter."""
    assert script.startswith(PROLOGUE)
    script = script.replace(PROLOGUE, "[prologue]\n", 1)
    for path in sorted(BODIES.iterdir()):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if text:
            script = script.replace(shlex.quote(text), f"[{path.name}]").replace(text, f"[{path.name}]\n")
    return script


def main() -> None:
    for path in CASES:
        case = {name: value for name, value in read(path).items() if name in INPUT}
        path.write_text(json.dumps(case | outcome(case), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
