"""The lab: a whole Debian server, a registry and an ACME authority in containers on this machine."""
