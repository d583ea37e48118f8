"""`python -m tests.benchmarks`: see benchmark.py."""

from tests.benchmarks import benchmark

if __name__ == "__main__":
  benchmark.main()
