"""How many steps a baseline takes, and how long they are: published epochs, rates relative to the recipe.

Papers give rates for their own networks. A share of the rate that *this* network was trained with carries
over; an absolute rate would not.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from worker.engine.contract import Recipe
from worker.engine.descent import SGD_TO_ADAM, Descent


@dataclass(frozen=True)
class Pace:
    """epochs: passes over the rows that the method steps through. rate: share of the recipe's peak rate.

    batch_size: the recipe's unless given. plain: gradient descent without momentum, whose step is the
    gradient itself; otherwise the recipe's optimizer. No pace has weight decay: it would move weights that
    a method leaves alone, and forget by itself.
    """

    epochs: float
    rate: float
    batch_size: int | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    plain: bool = False

    def batch(self, recipe: Recipe, pool: int) -> int:
        """Instances per step out of a pool of rows."""
        return max(1, min(self.batch_size or recipe.batch_size, pool))

    def steps(self, recipe: Recipe, pool: int, scale: float) -> int:
        """Steps of the whole run; `scale` is the budget's."""
        return max(1, ceil(self.epochs * scale * (pool // self.batch(recipe, pool))))

    def descent(self, recipe: Recipe, steps: int, pool: int) -> Descent:
        """The same, as `make_optimizer` and the schedule want it."""
        peak = recipe.learning_rate
        if self.plain and recipe.optimizer != "sgd":
            peak /= SGD_TO_ADAM
        return Descent(
            steps=steps,
            batch_size=self.batch(recipe, pool),
            learning_rate=self.rate * peak,
            optimizer="sgd" if self.plain else recipe.optimizer,
            schedule=self.schedule,
            momentum=0.0 if self.plain else recipe.momentum,
            training_mode=False,
        )
