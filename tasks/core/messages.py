"""Two SSH messages that paramiko has no method for, or none that does not wait."""

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST


def request_exec(channel: paramiko.Channel, transport: paramiko.Transport, line: str) -> None:
    """Ask for the command without waiting for the answer, which saves a round trip for each.

    Channel.exec_command is this and a wait. A refusal closes the channel, so it is noticed like any other end.
    """
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)
    message.add_string(line)
    transport._send_user_message(message)  # type: ignore[attr-defined]  # there is no public way


def send_signal(channel: paramiko.Channel, transport: paramiko.Transport) -> None:
    """Send RFC 4254's signal request, which paramiko has no method for."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("signal")
    message.add_boolean(False)
    message.add_string("TERM")
    transport._send_user_message(message)  # type: ignore[attr-defined]  # there is no public way
