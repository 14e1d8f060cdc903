"""Real servers that tests need, each started from what `scripts/setup servers` has put into .cache/, on a free port of 127.0.0.1."""
