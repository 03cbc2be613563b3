"""How far a run is, in instance passes, told to a `Monitor` between steps."""

from worker.engine.contract import Monitor


class Progress:
    """Counts instance passes towards a total that is known (or estimated) from the start."""

    def __init__(self, monitor: Monitor, total: int) -> None:
        self.monitor = monitor
        self.total = max(1, total)
        self.done = 0

    def advance(self, instances: int, note: str) -> None:
        """Called after every step; the monitor may raise `Interrupted` from here."""
        self.done = min(self.done + instances, self.total)
        self.monitor.progress(self.done, self.total, note)
