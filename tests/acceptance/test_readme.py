"""The README's lines work when pasted."""

import os
import re
import subprocess
import sys
from pathlib import Path

from app.standalone.deployment import EmbeddedDeployment

ROOT = Path(__file__).parents[2]


def test_the_journey_of_the_readme(tmp_path: Path) -> None:
    block = re.search(r"<!-- journey:.*?-->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    commands = block[1].replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    with EmbeddedDeployment(tmp_path / "lethe", durable=False) as deployment:
        data = deployment.folder.data
        subprocess.run([sys.executable, "-m", "examples.digits.files", str(data)], cwd=ROOT, check=True)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            env={
                **os.environ,
                "LETHE": deployment.url,
                "KEY": deployment.api_key or "",
                "DATA": str(data),
            },
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
