"""What the system tests, the demo and the benchmarks share: a real server process, TPC-H, and the comparison of answers."""
