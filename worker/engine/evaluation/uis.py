"""UIS, the unlearning impact score of OrthoGrad (arXiv 2503.02312), in percent; lower is better.

Retraining's own is not 0, and where the forget set is easier or harder than the holdout UIS misleads:
print it beside retraining's.
"""


def named_task_uis(original_test: float, test: float, forget: float) -> float | None:
    """50 · (|O_test − U_test| + |O_test − U_forget|) / O_test; None where O_test is 0."""
    return _score(original_test, original_test, test, forget)


def unnamed_task_uis(
    original_test: float, test: float, original_forget: float, forget: float
) -> float | None:
    """Our counterpart for an un-named task of the same instances, which should have stayed as it was:
    50 · (|O_test − U_test| / O_test + |O_forget − U_forget| / O_forget); None where either is 0."""
    return _score(original_test, original_forget, test, forget)


def _score(test_before: float, forget_before: float, test: float, forget: float) -> float | None:
    if test_before == 0 or forget_before == 0:
        return None
    return 50 * (abs(test_before - test) / test_before + abs(forget_before - forget) / forget_before)
