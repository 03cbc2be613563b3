"""A real server in a thread, for what the in-process transport cannot show: streams and disconnects."""

from app.core.settings import Settings
from app.main import create_app
from tests.server_thread import ServerThread


class Serving(ServerThread):
    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        super().__init__(self.app)
