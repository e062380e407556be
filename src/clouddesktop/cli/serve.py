"""`clouddesktop serve`: the options of a server, given to the one that runs in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HELP = "Run a server; prints one line of JSON on standard output when it can take requests."


def serve(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Everything that the server keeps; made on first start. "
            "Default: clouddesktop-data.",
        ),
    ] = None,
    grpc: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the gRPC API; port 0 takes a free one. Default: 127.0.0.1:50051.",
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of HTTPS; port 0 takes a free one. Default: 127.0.0.1:8080.",
        ),
    ] = None,
    plaintext: Annotated[
        bool, typer.Option("--plaintext", help="No TLS; for loopback addresses only.")
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="sqlite:///PATH. Default: a database in the data folder."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="file:///PATH. Default: a store in the data folder."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="A place where compute images lie, such as images=file:///srv/images; "
            "may be repeated.",
        ),
    ] = None,
    source_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Further authorities, in PEM, that the certificates of sources may come from.",
        ),
    ] = None,
    source_stall: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long a transfer from a source may give nothing before it is cut and goes "
            "on from where it was. Default: 30.",
        ),
    ] = None,
    import_allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="A private network, such as 10.0.0.0/8, that compute images may be imported from "
            "by URL all the same; may be repeated.",
        ),
    ] = None,
    import_size: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES", help="The largest file that is imported by URL. Default: 1 TiB."
        ),
    ] = None,
    import_time: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="How long fetching such a file may take. Default: a day."
        ),
    ] = None,
    upload_size: Annotated[
        int | None,
        typer.Option(metavar="BYTES", help="The largest file that is uploaded. Default: 1 TiB."),
    ] = None,
    upload_expire: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long an upload is kept for its import. Default: a day.",
        ),
    ] = None,
    spool_size: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            help="How much compressed files may take in the data folder while they are unpacked. "
            "Default: what is free there, less 1 GiB.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Copies that run at a time. Default: 2.")
    ] = None,
    collect_after: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            help="How long there is garbage before a collection starts by itself; 0: never. "
            "Default: 3600.",
        ),
    ] = None,
    encryption_keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keys by which the store is encrypted, lines of `id: base64 of 32 bytes`; the "
            "first is used for what is written. Default: no encryption.",
        ),
    ] = None,
    scrub_rate: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            help="Bytes a second that a scrub of the store reads at most, a quarter of it while "
            "copies are at work; 0: no bound. Default: 100000000.",
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="A further host name of this server, for its certificate; may be repeated.",
        ),
    ] = None,
    sandbox: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY",
            help="required: refuse disks that need QEMU where it cannot be locked in; "
            "preferred: read them all the same. Default: required.",
        ),
    ] = None,
    operation_retention: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS",
            help="How long an operation is kept after its end; 0: for ever. Default: 30.",
        ),
    ] = None,
    rate_limit: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Calls a second that a subject may make in the long run; 0: any. Default: 0.",
        ),
    ] = None,
    rate_burst: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Calls that a subject may make at once, where there is a rate limit. "
            "Default: 100.",
        ),
    ] = None,
    audit_size: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            help="How long a file of the audit log becomes before a new one begins. "
            "Default: 100000000.",
        ),
    ] = None,
    audit_files: Annotated[
        int | None,
        typer.Option(metavar="N", help="Full files of the audit log that are kept. Default: 100."),
    ] = None,
    oidc_issuer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="An issuer of OpenID Connect tokens that are taken beside IAM tokens, such as "
            "corp=https://sso.example.org; may be repeated.",
        ),
    ] = None,
    oidc_audience: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=AUDIENCE",
            help="What an issuer's tokens have to be for; each issuer needs one; may be repeated.",
        ),
    ] = None,
    oidc_claim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=CLAIM",
            help="What tells an issuer's subjects apart; may be repeated. Default: sub.",
        ),
    ] = None,
    oidc_algorithms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ALG",
            help="What those tokens may be signed with, such as RS256; may be repeated. "
            "Default: RS, PS and ES of 256, 384 and 512 bits, and EdDSA.",
        ),
    ] = None,
    oidc_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Further authorities, in PEM, that the certificates of issuers may come from.",
        ),
    ] = None,
    oidc_clock_skew: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="How far the clocks of issuers may differ. Default: 60."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML file with these settings.")
    ] = None,
) -> None:
    from clouddesktop.app.serving import run_server  # noqa: PLC0415  (all the server's libraries)
    from clouddesktop.config import load_settings  # noqa: PLC0415  (pydantic)

    settings = load_settings(
        data_dir=data_dir,
        grpc=grpc,
        http=http,
        plaintext=plaintext or None,
        database=database,
        store=store,
        source=source or None,
        source_ca=source_ca,
        source_stall=source_stall,
        import_allow=tuple(import_allow) if import_allow else None,
        import_size=import_size,
        import_time=import_time,
        upload_size=upload_size,
        upload_expire=upload_expire,
        spool_size=spool_size,
        workers=workers,
        collect_after=collect_after,
        encryption_keys=encryption_keys,
        scrub_rate=scrub_rate,
        names=tuple(names) if names else None,
        sandbox=sandbox,
        operation_retention=operation_retention,
        rate_limit=rate_limit,
        rate_burst=rate_burst,
        audit_size=audit_size,
        audit_files=audit_files,
        oidc_issuer=oidc_issuer or None,
        oidc_audience=oidc_audience or None,
        oidc_claim=oidc_claim or None,
        oidc_algorithms=tuple(oidc_algorithms) if oidc_algorithms else None,
        oidc_ca=oidc_ca,
        oidc_clock_skew=oidc_clock_skew,
        config=config,
    )
    raise typer.Exit(run_server(settings))
