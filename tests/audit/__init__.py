"""`make audit`: a hardened host of the lab and the site on it, judged by programs that nobody here wrote.

Not part of `make test`: it takes some minutes, and what it looks at changes with files/ and the hardening alone. The
results are in docs/reference/scores.md, with a digest of what was judged (`current.py`).
"""
