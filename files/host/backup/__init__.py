"""Backups that are proven and restores that can be undone."""

KINDS = ("postgres", "redis", "config")
"""What there are always backups of, and copies on the remotes."""
BASE = "base"
"""The whole server, file by file: where the way to a point in time begins. Only with POINT_IN_TIME_DAYS."""
ALL = (*KINDS, BASE)
