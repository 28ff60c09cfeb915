"""What is measured. A measure takes a Bench and enters into its results what it finds; it makes its own runtimes."""

from collections.abc import Callable, Mapping

from bench.measures import burst, execution, life, lists, population, programs, pulls, streams
from bench.run import Bench

MEASURES: Mapping[str, Callable[[Bench], None]] = {
    "life": life.measure,
    "burst": burst.measure,
    "exec": execution.measure,
    "streams": streams.measure,
    "lists": lists.measure,
    "pulls": pulls.measure,
    "population": population.measure,
    "programs": programs.measure,
}
"""By the name that --only takes, in the order in which they run."""
