"""`python -m app.relay`: runs until SIGTERM or SIGINT, which end it at once."""

import signal
import sys
from types import FrameType

from app.core.logging import configure_logging
from app.core.settings import get_settings
from app.relay.service import Relay


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    settings = get_settings()
    configure_logging(settings, "relay")
    try:
        relay = Relay(settings)
    except ValueError as error:
        sys.exit(str(error))
    relay.run()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
