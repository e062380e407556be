"""schemathesis sends what the OpenAPI document allows, and what it does not, to a real server."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from pathlib import Path

from parts.disks import MIB, random_bytes, write_raw
from parts.rest import RestClient
from parts.server import ServerProcess

PARTS = Path(__file__).parents[1] / "parts"
SECONDS = os.environ.get("SCHEMATHESIS_SECONDS", "25")  # noqa: TID251  (test set-up)
CHECKS = (
    "no_server_fault",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def test_it_finds_no_server_error(server: ServerProcess, sources_dir: Path, tmp_path: Path) -> None:
    """Every answer is one that the document describes; the log has no traceback."""
    write_raw(sources_dir / "golden.raw", size=2 * MIB, data={0: random_bytes(MIB, seed=1)})
    seed = secrets.randbelow(1 << 32)
    with RestClient(server.profile) as rest:
        base = str(rest.http.base_url).rstrip("/")
        command = [
            "schemathesis", "run", f"{base}/openapi.json",
            "--tls-verify", str(server.data_dir / "tls" / "ca.pem"),
            "--header", f"authorization: Bearer {rest.token}",
            "--phases", "coverage,fuzzing",
            "--checks", ",".join(CHECKS),
            "--max-time", SECONDS,
            "--seed", str(seed),
            "--continue-on-failure",
            "--no-color",
            "--warnings", "off",
        ]  # fmt: skip
        hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_checks", "PYTHONPATH": str(PARTS)}
        environment = {**os.environ, **hooks}  # noqa: TID251  (the child's)
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=180,
            env=environment,
        )
        assert done.returncode == 0, f"seed {seed}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
        sent = re.search(r"(\d[\d,]*) generated", done.stdout)
        assert sent is not None, done.stdout[-2000:]
        assert int(sent[1].replace(",", "")) > 100
        assert rest.call("GET", "/healthz") == {"status": "SERVING"}
    assert "Traceback" not in server.log.read_text()
