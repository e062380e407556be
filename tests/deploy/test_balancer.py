"""Two servers behind HAProxy, by the configuration of deploy/ but for its addresses."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from deploy.units import DEPLOY
from parts.cluster import Cluster
from parts.server import ServerProcess
from parts.waiting import wait_for

_STOP_SECONDS = 30


def find_port() -> int:
    """Give a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def balancing(folder: Path, servers: list[ServerProcess]) -> Iterator[tuple[int, int]]:
    """Run HAProxy; gives its ports for gRPC and HTTPS."""
    assert shutil.which("haproxy"), "HAProxy is not installed: run `scripts/setup`."
    text = (DEPLOY / "haproxy.cfg").read_text()
    ports = (find_port(), find_port())
    for name, port in zip(("50051", "8080"), ports, strict=True):
        text = text.replace(f"bind :{name}", f"bind 127.0.0.1:{port}")
    for number, server in enumerate(servers, 1):
        address = f"10.0.0.1{number}"
        checked = server.http.rpartition(":")[2]
        text = text.replace(
            f"{address}:50051 check port 8080", f"{server.grpc} check port {checked}"
        )
        text = text.replace(f"{address}:8080", server.http)
    assert not re.search(r"10\.0\.0\.", text)
    config = folder / "haproxy.cfg"
    config.write_text(text)
    with (folder / "haproxy.log").open("w") as log:
        process = subprocess.Popen(["haproxy", "-f", config], stdout=log, stderr=log)
        try:
            yield ports
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def test_two_servers_behind_a_balancer_are_one_and_survive_the_loss_of_one(
    cluster: Cluster, tmp_path: Path
) -> None:
    """GRPC and HTTPS come through with one authority, also when a server is killed."""
    authority = tmp_path / "authority"
    subprocess.run([DEPLOY / "make-authority", authority], check=True, capture_output=True)
    servers = [cluster.make_server() for _ in range(2)]
    for server in servers:
        shutil.copytree(authority, server.data_dir / "tls")
        server.start()
    with balancing(tmp_path, servers) as (grpc_port, https_port):
        context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
        credentials = grpc.ssl_channel_credentials((authority / "ca.pem").read_bytes())

        def is_served() -> bool:
            try:
                with grpc.secure_channel(f"127.0.0.1:{grpc_port}", credentials) as channel:
                    health: Any = HealthStub(channel)  # its types leave out the methods
                    answer = health.Check(HealthCheckRequest(), timeout=10)
                page = httpx.get(f"https://127.0.0.1:{https_port}/healthz", verify=context)
            except (grpc.RpcError, httpx.TransportError):
                return False
            return answer.status == HealthCheckResponse.SERVING and page.is_success

        wait_for(is_served, "both are reached", timeout_seconds=30)
        for killed, other in (servers, reversed(servers)):
            killed.kill()
            wait_for(is_served, "the other is reached", timeout_seconds=30)
            assert other.process is not None
            killed.start()
            wait_for(is_served, "it is there again", timeout_seconds=30)
