"""Run an embedded deployment with stand-ins for its services, in a folder, until killed."""

import sys
import threading
from pathlib import Path

from app.standalone.deployment import EmbeddedDeployment
from tests.standalone.conftest import stand_ins

if __name__ == "__main__":
    with EmbeddedDeployment(Path(sys.argv[1]), programs=stand_ins(), durable=False) as deployment:
        print(deployment.url, deployment.api_key, flush=True)
        threading.Event().wait()
