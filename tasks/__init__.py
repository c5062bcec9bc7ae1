"""What `fab` does: one module per noun of the command line, over `core` (talks to hosts) and `model` (pure)."""

import sys

__version__ = "0.1.0"

# fab turns bytecode files off before it loads a fabfile, so every `fab --list` would compile all of our modules again.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
