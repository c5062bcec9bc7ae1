"""What a bare host needs before the first deploy: one module per concern, facts in, steps out."""
