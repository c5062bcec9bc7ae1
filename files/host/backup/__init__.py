"""Backups that are proven and restores that can be undone."""

KINDS = ("postgres", "redis", "config")
"""What there are backups of."""
