"""How a host is talked to: targets, connections, commands, tasks, output and errors."""
