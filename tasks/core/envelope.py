"""The shell lines around a command: they report its process group and status, and stop the group. Pure text."""

import shlex
from dataclasses import dataclass, field

MAX_COMMAND = 100_000  # bytes; the kernel refuses arguments over 128 KiB with a message nobody understands
_STOP_TENTHS = 20  # tenths of a second between asking a process group to end and killing it
_MAX_NOISE = 65_536  # bytes of login-shell chatter that may come before the command's own output


def wrap(command: str, token: str) -> str:
    """`command` (a rendered shell line) inside a shell that first prints `token:pid` on stdout.

    That costs no round trip and gives three things: the process group to stop on Ctrl-C (sshd refuses SSH signals for
    root logins), a stdout free of what ~/.bashrc prints, and the status 128+n of a command killed by signal n.
    Also sets what parsed output relies on: the C.UTF-8 locale, and sbin in PATH for logins that lack it.
    Raises ValueError when the result is longer than the kernel passes on.
    """
    script = (
        f"printf '%s:%s\\n' {shlex.quote(token)} $$; "
        'export LC_ALL=C.UTF-8 PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"; '
        f"{command}\nexit $?"
    )
    line = f"exec /bin/sh -c {shlex.quote(script)}"
    if len(line.encode()) > MAX_COMMAND:
        raise ValueError(f"the command is longer than {MAX_COMMAND} bytes: send the script over stdin")
    return line


def stop_line(pid: int) -> str:
    """A shell line that ends the process group of `pid`: TERM, two seconds' grace, KILL."""
    script = (
        f"g=-{pid}; kill -0 $g 2>/dev/null || g={pid}; kill -TERM $g 2>/dev/null; i=0; "
        f"while kill -0 $g 2>/dev/null; do i=$((i+1)); "
        f'if [ "$i" -gt {_STOP_TENTHS} ]; then kill -KILL $g 2>/dev/null; break; fi; sleep 0.1; done'
    )
    quoted = shlex.quote(script)
    # What runs under sudo can only be stopped by root; where sudo asks for a password, only our own part is stopped.
    return f'if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then sudo -n sh -c {quoted}; else sh -c {quoted}; fi'


@dataclass
class Opening:
    """Takes the line `token:pid` off the front of stdout, and whatever a login script printed before it."""

    token: str
    pid: int | None = None
    noise: bytes = b""
    _passed: bool = field(default=False, repr=False)

    def feed(self, data: bytes) -> bytes:
        """The part of `data` that is the command's own output."""
        if self._passed:
            return data
        self.noise += data
        start = self.noise.find(f"{self.token}:".encode())
        end = self.noise.find(b"\n", start) if start >= 0 else -1
        if end < 0:
            if len(self.noise) > _MAX_NOISE and start < 0:
                self.noise = self.noise[-_MAX_NOISE:]
            return b""
        self.pid = int(self.noise[start + len(self.token) + 1 : end])
        rest, self.noise, self._passed = self.noise[end + 1 :], self.noise[:start], True
        return rest
