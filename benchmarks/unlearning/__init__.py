"""The unlearning benchmark: every method on the same networks, data, requests and seeds.

    python -m benchmarks.unlearning --help

docs/benchmark.md says what is measured and how the methods are configured.
"""
