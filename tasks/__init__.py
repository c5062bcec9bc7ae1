"""What `fab` does: one module per noun of the command line, over `core` (talks to hosts) and `model` (pure)."""

__version__ = "0.1.0"
