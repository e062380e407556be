"""An API over a real database in which anybody may be given any role, called without a wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import sqlalchemy as sa
from google.protobuf.message import Message

from clouddesktop.api.auditing import Auditing
from clouddesktop.api.calls import Call
from clouddesktop.api.served import Api
from clouddesktop.catalog.bindings import add_binding, remove_bindings_of
from clouddesktop.catalog.compute_images import add_imported_image
from clouddesktop.catalog.engine import Database
from clouddesktop.catalog.folders import add_folder
from clouddesktop.catalog.images import add_image
from clouddesktop.catalog.keys import add_key
from clouddesktop.catalog.operations import add_operation
from clouddesktop.catalog.service_accounts import add_service_account
from clouddesktop.catalog.tables import compute_images, folders, images, service_accounts
from clouddesktop.copying.start import CopyStarter
from clouddesktop.errors import CloudDesktopError, Code
from clouddesktop.iam.discovery import SigningKey
from clouddesktop.iam.issuer_keys import IssuerKeys
from clouddesktop.iam.oidc import Issuer, OidcTokens
from clouddesktop.iam.tokens import TokenService
from clouddesktop.ids import Prefix, new_id
from clouddesktop.model.access import AccessBinding, AuthorizedKey, Resource
from clouddesktop.model.compute import ComputeImageStatus, ImportedImage
from clouddesktop.model.folder import Folder
from clouddesktop.model.image import Image
from clouddesktop.model.service_account import ServiceAccount
from clouddesktop.source.catalogue import SourceCatalogue
from clouddesktop.source.folder import FolderSource
from unit.api.serving import (
    AN_IMAGE,
    AN_OPERATION,
    CREATED_AT,
    FakeCopies,
    NoWorkflows,
    make_api,
    make_database,
)
from unit.iam.signing import NOW, make_pair, sign

OWN_FOLDER = "b1gfolder"
OTHER_FOLDER = "b1gother"
ISSUER_URL = "https://sso.example.org/realms/corp"
ISSUER_AUDIENCE = "clouddesktop"
HIDDEN, DENIED, DONE = "hidden", "denied", "done"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder, its cloud, and what is in it."""

    folder_id: str
    image_id: str
    operation_id: str
    empty_folder_id: str
    compute_image_id: str
    imported_id: str
    account_id: str
    key_id: str
    cloud_id: str = "b1ccloud"


class World:
    """An API over a real database, where anybody may be given any role."""

    def __init__(self, folder: Path, make_auditing: Callable[[], Auditing] | None = None) -> None:
        key, _ = make_pair()
        self.database: Database = make_database(folder)
        self.database.write(add_folder, a_folder(OTHER_FOLDER))
        sources = []
        for folder_id in (OWN_FOLDER, OTHER_FOLDER):
            place = folder / folder_id
            place.mkdir()
            (place / f"golden-{folder_id}.raw").write_bytes(b"disk")
            sources.append(FolderSource(name=folder_id, root=place, folder_id=folder_id))
        catalogue = SourceCatalogue(sources)
        copies = CopyStarter(
            database=self.database, sources=catalogue, queue=cast("Any", NoWorkflows())
        )
        self.revoked: set[str] = set()

        def find_key(key_id: str) -> AuthorizedKey | None:
            if key_id in self.revoked:
                return None
            return replace(key, id=key_id, service_account_id=key_id.replace("ajk", "aje"))

        self.tokens = TokenService(
            signing_key=b"s" * 32, find_key=find_key, audiences=["localhost"], clock=lambda: NOW
        )
        self.api: Api = make_api(
            database=self.database,
            copies=cast("FakeCopies", copies),
            tokens=self.tokens,
            auditing=None if make_auditing is None else make_auditing(),
            sources=catalogue,
            oidc=make_oidc(),
        )

    def token_of(self, subject_id: str) -> str:
        headers = {"kid": subject_id.replace("aje", "ajk")}
        return self.tokens.exchange_jwt(sign(claims={"iss": subject_id}, headers=headers)).token

    def make_place(self, folder_id: str) -> Place:
        image_id = new_id(Prefix.IMAGE)
        image = replace(AN_IMAGE, id=image_id, folder_id=folder_id, name=image_id)
        operation = replace(AN_OPERATION, id=new_id(Prefix.OPERATION), folder_id=folder_id)
        imported = ImportedImage(
            id=new_id(Prefix.COMPUTE_IMAGE),
            folder_id=folder_id,
            name="",
            family="golden",
            status=ComputeImageStatus.READY,
            created_at=CREATED_AT,
        )
        self.database.write(add_imported_image, imported)
        account = ServiceAccount(
            id=new_id(Prefix.SERVICE_ACCOUNT),
            folder_id=folder_id,
            name=new_id(Prefix.SERVICE_ACCOUNT),
            created_at=CREATED_AT,
        )
        self.database.write(add_service_account, account)
        key, _ = make_pair()
        key = replace(key, id=new_id(Prefix.KEY), service_account_id=account.id)
        self.database.write(add_key, key)
        empty = a_folder(new_id(Prefix.FOLDER))
        self.database.write(add_image, image)
        self.database.write(add_operation, operation)
        self.database.write(add_folder, empty)
        return Place(
            folder_id=folder_id,
            image_id=image.id,
            operation_id=operation.id,
            empty_folder_id=empty.id,
            compute_image_id=f"golden-{folder_id}",
            imported_id=imported.id,
            account_id=account.id,
            key_id=key.id,
        )

    def add_images(self, *images: Image) -> None:
        for image in images:
            self.database.write(add_image, image)

    def bind(self, subject_id: str, role_id: str, *resources: Resource) -> None:
        self.database.write(remove_bindings_of, subject_id)
        binding = AccessBinding(
            role_id=role_id, subject_id=subject_id, subject_type="serviceAccount"
        )
        for resource in resources:
            self.database.write(add_binding, resource, binding)

    async def call(self, path: str, request: Message, token: str | None) -> str:
        """Call, and say what came of it."""
        try:
            await self.answer(path, request, token)
        except CloudDesktopError as error:
            if error.code is Code.NOT_FOUND:
                return HIDDEN
            if error.code is Code.PERMISSION_DENIED:
                return DENIED
            raise
        return DONE

    def free_name(self, name: str) -> None:
        """Let the next one make something of this name."""
        for table in (images, compute_images, folders, service_accounts):
            statement = sa.update(table).where(table.c.name == name)
            self.database.write(_execute, statement.values(name=new_id(Prefix.IMAGE)))

    async def answer(
        self,
        path: str,
        request: Message,
        token: str | None,
        further: Mapping[str, str] = MappingProxyType({}),
    ) -> Message:
        """Call with a token and `further` metadata, and give the answer."""
        served = self.api.find(path)
        metadata = dict(further)
        if token is not None:
            metadata["authorization"] = f"Bearer {token}"
        call = Call(
            method=served.method, metadata=metadata, peer="ipv4:192.0.2.7:40112", request=request
        )
        return await served.proceed(call)


def make_oidc() -> OidcTokens:
    """Trust an issuer `corp` whose key is the one that `sign` signs with."""
    key, private = make_pair()
    published = SigningKey(id=key.id, kind="RSA", algorithm="", public_key=private.public_key())
    issuer = Issuer(
        name="corp",
        url=ISSUER_URL,
        audiences=frozenset({ISSUER_AUDIENCE}),
        keys=IssuerKeys(issuer_url=ISSUER_URL, fetch=lambda: (published,)),
    )
    return OidcTokens(issuers=[issuer], skew_seconds=60, clock=lambda: NOW)


def sign_as_issuer(*, algorithm: str = "RS256", secret: Any = None, **claims: Any) -> str:
    """Make a token of the issuer for `alice`, with these claims over the usual."""
    usual = {"iss": ISSUER_URL, "aud": ISSUER_AUDIENCE, "sub": "alice"}
    return sign(algorithm=algorithm, secret=secret, claims={**usual, **claims})


def a_folder(folder_id: str) -> Folder:
    return Folder(id=folder_id, cloud_id="b1ccloud", name=folder_id, created_at=CREATED_AT)


def _execute(connection: sa.Connection, statement: sa.Update) -> None:
    connection.execute(statement)
