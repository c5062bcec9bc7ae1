"""What we talk about: bundle, manifest, facts, plans. Pure: nothing here reads a file, a clock or the network."""
