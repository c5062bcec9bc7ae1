"""The host program: what runs on the VPS. Standard library only, Python 3.10 or newer, shipped as one zipapp."""
