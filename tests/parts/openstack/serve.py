"""Runs OpenStack's own Keystone or Glance, by the Python of scripts/openstack.

serve.py keystone|glance FOLDER CERTIFICATE KEY: FOLDER has the service's configuration file, and
takes its database. Prints the port once requests are taken.
"""

from __future__ import annotations

import grp
import multiprocessing
import os
import pwd
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FORK = multiprocessing.get_context("fork")


def run(work: Callable[..., object], *args: object) -> None:
    """Run one of the services' commands: each wants a process, and the imports are done."""

    def quietly() -> None:
        os.dup2(2, 1)  # standard output is for the port
        work(*args)

    child = _FORK.Process(target=quietly)
    child.start()
    child.join()
    if child.exitcode:
        sys.exit(f"{work} {args} ended with {child.exitcode}.")


def make_keystone(folder: Path, port: int) -> Any:
    """Make the database, the keys and the user admin, whose password is `secret`."""
    from keystone.cmd import cli  # noqa: PLC0415  (each process has one of the two services)
    from keystone.server.flask import core  # noqa: PLC0415

    config = str(folder / "keystone.conf")
    me = ["--keystone-user", pwd.getpwuid(os.getuid()).pw_name]
    me += ["--keystone-group", grp.getgrgid(os.getgid()).gr_name]
    admin = ["--bootstrap-password", "secret"]
    admin += ["--bootstrap-public-url", f"https://localhost:{port}/v3"]
    for command in (["db_sync"], ["fernet_setup", *me], ["bootstrap", *admin]):
        run(cli.main, ["keystone-manage", "--config-file", config, *command])
    return core.initialize_application(name="public", config_files=[config])


def make_glance(folder: Path, _port: int) -> Any:
    """Make the database; of the two stores, `whole` gives no ranges, as those on Ceph do not."""
    import glance_store  # noqa: PLC0415
    from glance.cmd import manage  # noqa: PLC0415
    from glance.common import wsgi_app  # noqa: PLC0415
    from glance_store.capabilities import BitMasks  # noqa: PLC0415

    def migrate() -> None:
        sys.argv = ["glance-manage", "--config-file", str(folder / "glance-api.conf"), "db_sync"]
        manage.main()

    run(migrate)
    os.environ["OS_GLANCE_CONFIG_DIR"] = str(folder)  # noqa: TID251  (where Glance looks)
    application = wsgi_app.init_app()
    whole = glance_store.get_store_from_store_identifier("whole")
    whole.unset_capabilities(BitMasks.READ_RANDOM & ~BitMasks.READ_ACCESS)
    return application


def main() -> None:
    kind, folder, certificate, key = sys.argv[1:]
    del sys.argv[1:]  # the services look at them, too
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    application = {"keystone": make_keystone, "glance": make_glance}[kind](Path(folder), port)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    server = make_server(
        "127.0.0.1",
        port,
        application,
        threaded=True,
        ssl_context=(certificate, key),
        fd=listener.fileno(),
    )
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
