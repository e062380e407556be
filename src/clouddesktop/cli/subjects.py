"""Subjects of access bindings as people write them: TYPE:ID."""

from __future__ import annotations

import typer
from yandex.cloud.access.access_pb2 import Subject

from clouddesktop.model.federation import DIGEST_MARK, federated_id


def parse_subject(text: str) -> Subject:
    subject_type, colon, subject_id = text.partition(":")
    if not colon or not subject_id:
        raise typer.BadParameter("Write --subject as TYPE:ID, such as serviceAccount:aje….")
    if subject_type == "federatedUser":
        subject_id = _to_federated_id(subject_id)
    return Subject(id=subject_id, type=subject_type)


def _to_federated_id(text: str) -> str:
    """Take ISSUER:SUBJECT with the subject in the issuer's words, or an id as lists show it."""
    issuer_name, colon, claim = text.partition(":")
    if not colon or not claim:
        raise typer.BadParameter("Write --subject as federatedUser:ISSUER:SUBJECT.")
    return text if claim.startswith(DIGEST_MARK) else federated_id(issuer_name, claim)
