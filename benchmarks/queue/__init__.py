"""What the queue itself costs: `python -m benchmarks.queue` writes benchmarks/results/queue.md."""
