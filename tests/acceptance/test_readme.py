"""The README's lines work when pasted."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from app.core.settings import Settings
from tests.acceptance.conftest import Service

ROOT = Path(__file__).parents[2]


def test_the_journey_of_the_readme(service: Service) -> None:
    block = re.search(r"<!-- journey:.*?-->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    commands = block[1].replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    data = service.data / "readme"
    data.mkdir()
    subprocess.run([sys.executable, "-m", "examples.digits.files", str(data)], cwd=ROOT, check=True)
    _as_by_default(data / "model.json")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env={**os.environ, "LETHE": service.url, "KEY": service.key, "DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert '"status":"succeeded"' in done.stdout
    assert "event: request.succeeded" in done.stdout
    digest = re.search(r"([0-9a-f]{64})  .*version-2\.safetensors", done.stdout)
    assert digest is not None
    assert f"sha256:{digest[1]}" in done.stdout
    assert f"version-2.safetensors is the certified checkpoint: its SHA-256 is {digest[1]}" in done.stdout


def _as_by_default(model: Path) -> None:
    """What waits for an approval is what would in a deployment of its own: ours lets more go without one."""
    defaults = {name: Settings.model_fields[f"approval_{name}"].default for name in ("share", "window_share")}
    body = json.loads(model.read_text())
    model.write_text(json.dumps(body | {"policy": {"approval": defaults}}))
