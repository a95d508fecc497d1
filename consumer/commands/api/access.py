"""Who may call: a bearer token, compared in constant time, or a JWT."""

from __future__ import annotations

import hmac
from typing import Any

import jwt

from consumer.errors import ConfigError
from consumer.settings.sections import Api

_SHORTEST_SECRET = 32


class Unauthorized(Exception):
    """No token, or a wrong one."""


class Forbidden(Exception):
    """A good JWT without the role."""


class Access:
    """What :class:`consumer.settings.sections.Api` lets in."""

    def __init__(self, settings: Api) -> None:
        """Keys are read once.

        Raises:
            ConfigError: nobody could be let in, or a key can't be used.

        """
        self._settings = settings.jwt
        self._token = settings.token.get_secret_value().encode() if settings.token is not None else b""
        self._keys = self._read_keys()
        if not self._token and not self._keys:
            raise ConfigError(
                "CDC_API__TOKEN",
                "not set, and no JWT: the API does not start without a way to tell who may call it",
                fix="set a token, or CDC_API__JWT__SECRET or CDC_API__JWT__PUBLIC_KEY",
            )

    def check(self, token: str | None) -> None:
        """Returns if the bearer of ``token`` may call.

        Raises:
            Unauthorized: no token, or neither the token nor a valid JWT.
            Forbidden: a valid JWT without the role.
        """
        given = (token or "").encode()
        if given and self._token and hmac.compare_digest(given, self._token):
            return
        if not given or not self._keys:
            raise Unauthorized
        self._check_role(self._claims(given))

    def _claims(self, token: bytes) -> dict[str, Any]:
        try:
            # Which key fits is told by the algorithm: a public key must never be taken for a shared secret.
            key = self._keys[str(jwt.get_unverified_header(token).get("alg"))]
            algorithm = jwt.get_unverified_header(token)["alg"]
            required = {"require": ["exp", "aud"]}
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                options=required,  # type: ignore[arg-type]
            )
        except (jwt.InvalidTokenError, KeyError, ValueError):
            raise Unauthorized from None
        return claims

    def _check_role(self, claims: dict[str, Any]) -> None:
        held = claims.get(self._settings.role_claim)
        roles = held if isinstance(held, list) else [held]
        if self._settings.role not in roles:
            raise Forbidden

    def _read_keys(self) -> dict[str, Any]:
        """The keys by the one algorithm that each is for."""
        keys: dict[str, Any] = {}
        if self._settings.secret is not None:
            secret = self._settings.secret.get_secret_value()
            if len(secret.encode()) < _SHORTEST_SECRET:
                raise ConfigError(
                    "CDC_API__JWT__SECRET", "too short for HS256", allowed=f"{_SHORTEST_SECRET} bytes or more"
                )
            keys["HS256"] = secret
        if self._settings.public_key is not None:
            allowed = "a PEM file with an RSA public key"
            try:
                pem = self._settings.public_key.read_bytes()
                keys["RS256"] = jwt.get_algorithm_by_name("RS256").prepare_key(pem)
            except OSError as error:
                raise ConfigError("CDC_API__JWT__PUBLIC_KEY", str(error.strerror), allowed=allowed) from None
            except (jwt.InvalidKeyError, ValueError, TypeError):
                raise ConfigError("CDC_API__JWT__PUBLIC_KEY", "no RSA public key", allowed=allowed) from None
        return keys
