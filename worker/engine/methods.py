"""The methods a deletion request may name."""

from worker.engine.baselines.retrain import Retrain
from worker.engine.contract import Method
from worker.engine.interference_aware import InterferenceAware

METHODS: dict[str, Method] = {
    "interference_aware": InterferenceAware(),
    "retrain": Retrain(),
}
