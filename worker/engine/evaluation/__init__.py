"""What a regulator is shown: metrics with intervals, membership inference, drift."""

from worker.engine.evaluation.memorisation import memorisation
from worker.engine.evaluation.report import evaluate

__all__ = ["evaluate", "memorisation"]
