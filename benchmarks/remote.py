"""Copies straight from an HTTPS server beside curl, over a link of 1 Gbit/s. See README.md here.

uv run benchmarks/remote.py [--image RAW] [--size-mib N] [--rounds N] [--folder DIR]

nginx serves from a network namespace of its own, behind a link that the kernel shapes; that takes
root. Without it, everything goes over loopback, and the table says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from benchmarks.copying import MIB, make_system_disk

from clouddesktop.app.tls import prepare_tls
from parts.official import OfficialClient
from parts.server import ServerProcess

NAMESPACE = "clouddesktop-bench"
INNER, OUTER = "10.77.0.2", "10.77.0.1"
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
user root;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    server {{
        listen {address} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {images};
        autoindex on;
    }}
}}
"""


@dataclass
class Ways:
    """Seconds of each way, round by round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        subprocess.run(["sync"], check=True)
        started = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)


def main() -> None:
    """Fetch and copy, interleaved, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="a raw disk; default: made of system files")
    parser.add_argument("--size-mib", type=int, default=1200, help="of system files in the disk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; default: the system's /tmp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clouddesktop-bench-", dir=options.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)
        images = folder / "images"
        images.mkdir()
        raw = images / "base.raw"
        if options.image:
            shutil.copyfile(options.image, raw)
        else:
            make_system_disk(raw, folder / "files", size=options.size_mib * MIB)
        shrink_to_data(raw, images / "disk.raw")
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"]
        subprocess.run([*convert, str(raw), str(images / "disk.qcow2")], check=True)
        raw.unlink()
        ways = Ways()
        with linked() as inside, serving(folder, images, inside) as (url, ca):
            for round_number in range(options.rounds):
                print(f"round {round_number + 1} of {options.rounds}", file=sys.stderr)
                for file in ("disk.raw", "disk.qcow2"):
                    run_curl(ways, folder, f"{url}{file}", ca)
                    run_ours(ways, folder, f"{url}{file}", ca)
            sizes = {each.name: each.stat().st_size / MIB for each in images.iterdir()}
        print_table(ways, sizes, is_shaped=inside is not None)


def shrink_to_data(raw: Path, target: Path) -> None:
    """Make a raw disk as small as its data: an HTTP server sends holes as zeros, all of them."""
    size = raw.stat().st_blocks * 512
    with raw.open("rb") as source, target.open("wb") as file:
        position = 0
        while file.tell() < size:
            try:
                start = os.lseek(source.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            position = os.lseek(source.fileno(), start, os.SEEK_HOLE)
            source.seek(start)
            file.write(source.read(position - start))


@contextmanager
def linked() -> Iterator[str | None]:
    """Make a link of 1 Gbit/s to a namespace; gives its name, or None where that is not allowed."""
    if os.geteuid() != 0:
        yield None
        return

    def run(command: str) -> None:
        subprocess.run(command.split(), check=True)

    try:
        run(f"ip netns add {NAMESPACE}")
        run(f"ip link add cdbench0 type veth peer name cdbench1 netns {NAMESPACE}")
        run(f"ip address add {OUTER}/30 dev cdbench0")
        run("ip link set cdbench0 up")
        run(f"ip -n {NAMESPACE} address add {INNER}/30 dev cdbench1")
        run(f"ip -n {NAMESPACE} link set cdbench1 up")
        shaped = "root tbf rate 1gbit burst 1m latency 50ms"
        run(f"ip netns exec {NAMESPACE} tc qdisc add dev cdbench1 {shaped}")
        yield NAMESPACE
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=False)


@contextmanager
def serving(folder: Path, images: Path, namespace: str | None) -> Iterator[tuple[str, Path]]:
    """Run nginx; gives the folder's URL and the authority of its certificate."""
    host = INNER if namespace else "127.0.0.1"
    tls = prepare_tls(folder / "tls", names={host})
    settings = folder / "nginx.conf"
    settings.write_text(
        NGINX.format(
            folder=folder,
            address=f"{host}:8443",
            certificate=tls.certificate,
            key=tls.key,
            images=images,
        )
    )
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    nginx = subprocess.Popen([*prefix, "nginx", "-c", str(settings), "-p", str(folder)])
    try:
        url = f"https://{host}:8443/"
        wait_for(url, tls.ca)
        yield url, tls.ca
    finally:
        nginx.terminate()
        nginx.wait(10)


def wait_for(url: str, ca: Path) -> None:
    command = ["curl", "-sf", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]
    subprocess.run([*command, "--cacert", str(ca), "-o", "/dev/null", url], check=True)


def run_curl(ways: Ways, folder: Path, url: str, ca: Path) -> None:
    """Fetch to a file, then make of it what people make: a compressed qcow2."""
    name = url.rpartition("/")[2]
    target = folder / f"fetched-{name}"
    packed = folder / "packed.qcow2"
    fetch = ["curl", "-sf", "--cacert", str(ca), "-o", str(target), url]
    zstd = ["-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    disk_format = name.rpartition(".")[2]
    with ways.timed(f"curl, {name}"):
        subprocess.run(fetch, check=True)
        subprocess.run(["sync", str(target)], check=True)
    target.unlink()
    with ways.timed(f"curl, then qemu-img -c zstd, {name}"):
        subprocess.run(fetch, check=True)
        convert = ["qemu-img", "convert", "-f", disk_format, *zstd, str(target), str(packed)]
        subprocess.run(convert, check=True)
        subprocess.run(["sync", str(packed)], check=True)
    target.unlink()
    packed.unlink()


def run_ours(ways: Ways, folder: Path, url: str, ca: Path) -> None:
    """Copy by a real server with an empty store, until the operation is done."""
    (folder / "tiny").mkdir(exist_ok=True)
    (folder / "tiny" / "tiny.raw").write_bytes(b"tiny" * 1024)
    server = ServerProcess(
        data_dir=folder / "data",
        sources={"tiny": folder / "tiny"},
        options=("--source", f"web={url}", "--source-ca", str(ca)),
    )
    server.start()
    try:
        client = OfficialClient(server.profile)

        def copy(compute_image_id: str) -> None:
            operation = client.copy(compute_image_id, compute_image_id)
            if not operation.done:
                operation = client.wait(operation.id, timeout_seconds=3600)
            assert operation.WhichOneof("result") == "response", operation

        copy("tiny")  # the very first workflow of a database waits up to a second
        with ways.timed(f"clouddesktop, {url.rpartition('/')[2]}"):
            copy("disk")
    finally:
        server.stop()
        shutil.rmtree(folder / "data")


def print_table(ways: Ways, sizes: dict[str, float], *, is_shaped: bool) -> None:
    """Print medians, and the ratio of each to curl alone for the same file."""
    median: Callable[[str], float] = lambda name: statistics.median(ways.seconds[name])  # noqa: E731  (short and local)
    link = "a link of 1 Gbit/s" if is_shaped else "loopback, unshaped"
    print(f"{', '.join(f'{name} of {size:.0f} MiB' for name, size in sizes.items())}; {link}\n")
    print("| way | median s | min - max s | time / curl alone |")
    print("|---|---|---|---|")
    for name, seconds in ways.seconds.items():
        alone = median(f"curl, {name.rpartition(', ')[2]}")
        print(
            f"| {name} | {median(name):.2f} | {min(seconds):.2f} - {max(seconds):.2f}"
            f" | {median(name) / alone:.2f} |"
        )


if __name__ == "__main__":
    main()
