"""Prints a daemon.json with the missing settings added. Whatever it says already stays as it is, order included."""

import json
import sys
from typing import Any


def merge(current: dict[str, Any], missing: dict[str, Any]) -> dict[str, Any]:
    """`current` plus the keys of `missing` that it does not have, one level deep."""
    merged = dict(current)
    for key, value in missing.items():
        there = merged.setdefault(key, value)
        if isinstance(there, dict) and isinstance(value, dict):
            merged[key] = {**value, **there}
    return merged


def main(path: str, missing: str) -> None:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
    except FileNotFoundError:
        text = ""
    current = json.loads(text) if text.strip() else {}
    print(json.dumps(merge(current, json.loads(missing)), indent=4, ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
