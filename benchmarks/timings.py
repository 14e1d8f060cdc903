"""What the benchmarks of queries share: timing in turns, and the table of the times."""

import time


def fastest(queries, engines, rounds):
    """The best wall time of each query in each engine, in milliseconds, all rows fetched. Queries run in turns, so that all engines see the same machine."""
    best = {name: dict.fromkeys(engines, float("inf")) for name in queries}
    for _ in range(rounds):
        for name, sql in queries.items():
            for engine, run in engines.items():
                start = time.perf_counter()
                run(sql)
                best[name][engine] = min(best[name][engine], (time.perf_counter() - start) * 1000)
    return best


def print_table(best, baseline=None):
    """A row for each query, their sum, and the sum as a multiple of that of an engine, if not told otherwise of the first."""
    engines = list(next(iter(best.values())))
    baseline = baseline or engines[0]
    print("| query | " + " | ".join(engines) + " |")
    print("|---|" + "--:|" * len(engines))
    for name, times in best.items():
        print(f"| {name} | " + " | ".join(f"{times[engine]:.0f}" for engine in engines) + " |")
    sums = {engine: sum(times[engine] for times in best.values()) for engine in engines}
    print("| **sum** | " + " | ".join(f"**{sums[engine]:.0f}**" for engine in engines) + " |")
    print(f"| of {baseline} | " + " | ".join(f"{sums[engine] / sums[baseline]:.2f}x" for engine in engines) + " |")
