"""Write env files that Docker Compose reads back byte for byte.

Compose reads `--env-file` and `env_file:` with a dotenv dialect of its own. Inside double quotes it takes two steps:
escapes first (a backslash and one of abcfnrtv$"\\ or an octal number), then `$` interpolation of the result. So a value
is exact when every backslash, double quote and dollar is escaped; nothing else means anything there. Single quotes are
nicer to read but cannot hold a value that ends in a backslash. Line ends are escaped too: a variable stays one line.
"""

import re
from collections.abc import Mapping

MAX_VALUE_BYTES = 100_000
"""Linux starts no program with a variable above 128 KiB: a container with such a value would never come up."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"})


def encode(variables: Mapping[str, str]) -> bytes:
    """Return the env file that holds `variables`, in their order: UTF-8, one NAME="value" line each.

    Args:
        variables: values by name, as the container has to see them.
    Raises:
        ValueError: no env file or no process can hold it: a name that is not an identifier, a NUL, text that is not
            valid Unicode, a value above MAX_VALUE_BYTES. The message names the variable and never shows the value.
    """
    return "".join(f"{name}={quote(name, value)}\n" for name, value in variables.items()).encode()


def quote(name: str, value: str) -> str:
    """Return `value` in the double quotes of Compose's dialect; `name` is checked too. Raises ValueError."""
    if not _NAME.match(name):
        raise ValueError("an environment variable has a name that is not letters, digits and underscores")
    if "\0" in value:
        raise ValueError(f"{name} contains a NUL byte")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        # "from None": the original exception carries the value
        raise ValueError(f"{name} is not valid Unicode text") from None
    if size > MAX_VALUE_BYTES:
        raise ValueError(f"{name} is longer than {MAX_VALUE_BYTES} bytes")
    return f'"{value.translate(_ESCAPES)}"'
