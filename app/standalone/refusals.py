"""The one way in which the embedded deployment says no."""


class StandaloneError(Exception):
    """What stopped the embedded deployment, in one sentence that says what to do about it."""
