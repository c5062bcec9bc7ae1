"""The procedures behind the verbs. Imported only when a task runs, so that `fab --list` is quick."""
