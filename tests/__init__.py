"""Everything that shows the toolkit to be true; the lab and the benchmarks live here too."""
