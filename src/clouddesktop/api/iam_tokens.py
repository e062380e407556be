"""IamTokenService: IAM tokens for service accounts."""

from __future__ import annotations

import asyncio

from yandex.cloud.iam.v1.iam_token_service_pb2 import CreateIamTokenRequest, CreateIamTokenResponse

from clouddesktop.api.calls import Call
from clouddesktop.errors import UnimplementedError
from clouddesktop.iam.tokens import TokenService


class IamTokenServicer:
    """Trades JWTs for tokens."""

    def __init__(self, *, tokens: TokenService) -> None:
        self._tokens = tokens

    async def create(self, request: CreateIamTokenRequest, _call: Call) -> CreateIamTokenResponse:
        if request.WhichOneof("identity") != "jwt":
            raise UnimplementedError(
                "OAuth tokens of the public cloud's accounts are not taken here.",
                remedy="Send a JWT that an authorised key of this server has signed.",
            )
        issued = await asyncio.to_thread(self._tokens.exchange_jwt, request.jwt)
        response = CreateIamTokenResponse(iam_token=issued.token)
        response.expires_at.FromDatetime(issued.expires_at)
        return response
