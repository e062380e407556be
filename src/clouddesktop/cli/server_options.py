"""The settings of a server as options, each declared here once for all commands that take them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

import typer


class ServerOptions(TypedDict):
    """An option for each field of `config.Settings`; None, or an empty list, was not given.

    It is not made from those fields: to load them takes longer than all the rest of a help page.
    """

    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Everything that the server keeps; made on first start. "
            "Default: clouddesktop-data.",
        ),
    ]
    grpc: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the gRPC API; port 0 takes a free one. Default: 127.0.0.1:50051.",
        ),
    ]
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of HTTPS; port 0 takes a free one. Default: 127.0.0.1:8080.",
        ),
    ]
    plaintext: Annotated[
        bool | None, typer.Option("--plaintext", help="No TLS; for loopback addresses only.")
    ]
    reuse_port: Annotated[
        bool | None,
        typer.Option(
            "--reuse-port",
            help="Listen on addresses that other servers of a shared database here have, too: the"
            " system shares connections out.",
        ),
    ]
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="sqlite:///PATH or postgresql://USER@HOST/NAME. Default: a database in the data"
            " folder.",
        ),
    ]
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="file:///PATH or s3://BUCKET/PREFIX. Default: a store in the data folder.",
        ),
    ]
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="A place where compute images lie, such as images=file:///srv/images; "
            "may be repeated.",
        ),
    ]
    source_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Further authorities, in PEM, that the certificates of sources may come from.",
        ),
    ]
    source_stall: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long a transfer from a source may give nothing before it is cut and goes "
            "on from where it was. Default: 30.",
        ),
    ]
    import_allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="A private network, such as 10.0.0.0/8, that compute images may be imported from "
            "by URL all the same; may be repeated.",
        ),
    ]
    import_size: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES", help="The largest file that is imported by URL. Default: 1 TiB."
        ),
    ]
    import_time: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="How long fetching such a file may take. Default: a day."
        ),
    ]
    upload_size: Annotated[
        int | None,
        typer.Option(metavar="BYTES", help="The largest file that is uploaded. Default: 1 TiB."),
    ]
    upload_expire: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long an upload is kept for its import. Default: a day.",
        ),
    ]
    uploads: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where uploads lie; servers and workers of a shared database may see the same"
            " folder. Default: in the data folder.",
        ),
    ]
    spool_size: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            help="How much compressed files may take in the data folder while they are unpacked. "
            "Default: what is free there, less 1 GiB.",
        ),
    ]
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Copies that run at a time here; 0 leaves them to the workers of a shared"
            " database. Default: 2.",
        ),
    ]
    worker_lease: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long a worker of a shared database may give no sign of life before others go"
            " on with its copies. Default: 15.",
        ),
    ]
    folder_copies: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Copies of one folder that run at a time. Default: any number."
        ),
    ]
    collect_after: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            help="How long there is garbage before a collection starts by itself; 0: never. "
            "Default: 3600.",
        ),
    ]
    encryption_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keys by which the store is encrypted, lines of `id: base64 of 32 bytes`; the "
            "first is used for what is written. Default: no encryption.",
        ),
    ]
    scrub_rate: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            help="Bytes a second that a scrub of the store reads at most, a quarter of it while "
            "copies are at work; 0: no bound. Default: 100000000.",
        ),
    ]
    names: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="A further host name of this server, for its certificate; may be repeated.",
        ),
    ]
    sandbox: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="required: refuse disks that need QEMU where it cannot be locked in; "
            "preferred: read them all the same. Default: required.",
        ),
    ]
    operation_retention: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS",
            help="How long an operation is kept after its end; 0: for ever. Default: 30.",
        ),
    ]
    rate_limit: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Calls a second that a subject may make in the long run; 0: any. Default: 0.",
        ),
    ]
    rate_burst: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Calls that a subject may make at once, where there is a rate limit. "
            "Default: 100.",
        ),
    ]
    audit_size: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            help="How long a file of the audit log becomes before a new one begins. "
            "Default: 100000000.",
        ),
    ]
    audit_files: Annotated[
        int | None,
        typer.Option(metavar="N", help="Full files of the audit log that are kept. Default: 100."),
    ]
    oidc_issuer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="An issuer of OpenID Connect tokens that are taken beside IAM tokens, such as "
            "corp=https://sso.example.org; may be repeated.",
        ),
    ]
    oidc_audience: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=AUDIENCE",
            help="What an issuer's tokens have to be for; each issuer needs one; may be repeated.",
        ),
    ]
    oidc_claim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=CLAIM",
            help="What tells an issuer's subjects apart; may be repeated. Default: sub.",
        ),
    ]
    oidc_algorithms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ALG",
            help="What those tokens may be signed with, such as RS256; may be repeated. "
            "Default: RS, PS and ES of 256, 384 and 512 bits, and EdDSA.",
        ),
    ]
    oidc_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Further authorities, in PEM, that the certificates of issuers may come from.",
        ),
    ]
    oidc_clock_skew: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="How far the clocks of issuers may differ. Default: 60."
        ),
    ]
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML file with these settings.")
    ]
