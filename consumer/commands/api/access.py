"""Who may call the API: the bearer token, compared in constant time, or a JWT."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt

from consumer.errors import ConfigError
from consumer.settings.sections import Api

_SHORTEST_SECRET = 32
_LONGEST_NAME = 64
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9@._+-]")


class Unauthorized(Exception):
    """There is no token, or it is wrong."""


class Forbidden(Exception):
    """A valid JWT without the required role."""


class Role(StrEnum):
    """What a visitor of the console may do. VIEWER: look. OPERATOR: refresh users and handle dead letters too."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who has logged in. ``name``: for the log. ``until_s``: when the token expires, UTC seconds; None: never."""

    name: str
    role: Role
    until_s: float | None = None


class Access:
    """Checks tokens against :class:`consumer.settings.sections.Api`."""

    def __init__(self, settings: Api) -> None:
        """Read the keys; they are read only once.

        Raises:
            ConfigError: neither a token nor a JWT key is set, or a key can't be used.

        """
        self._settings = settings.jwt
        self._token = settings.token.get_secret_value().encode() if settings.token is not None else b""
        viewer = settings.viewer_token
        self._viewer_token = viewer.get_secret_value().encode() if viewer is not None else b""
        self._keys = self._read_keys()
        if not self._token and not self._keys:
            raise ConfigError(
                "CDC_API__TOKEN",
                "not set, and no JWT key is set: the API does not start without authentication",
                fix="set a token, or CDC_API__JWT__SECRET or CDC_API__JWT__PUBLIC_KEY",
            )
        if self._viewer_token and self._viewer_token == self._token:
            raise ConfigError("CDC_API__VIEWER_TOKEN", "is CDC_API__TOKEN too", fix="set another token")

    def check(self, token: str | None) -> None:
        """Return if the bearer of ``token`` may call.

        Raises:
            Unauthorized: there is no token, or it is neither the bearer token nor a valid JWT.
            Forbidden: a valid JWT without the role.
        """
        given = (token or "").encode()
        if given and self._token and hmac.compare_digest(given, self._token):
            return
        if not given or not self._keys:
            raise Unauthorized
        self._check_role(self._claims(given))

    def visitor(self, token: str) -> Visitor:
        """Who the bearer of ``token`` is in the console.

        Raises:
            Unauthorized: it is neither a token nor a valid JWT.
            Forbidden: a valid JWT without a role.
        """
        given = token.encode()
        if given and self._token and hmac.compare_digest(given, self._token):
            return Visitor("token", Role.OPERATOR)
        if given and self._viewer_token and hmac.compare_digest(given, self._viewer_token):
            return Visitor("viewer-token", Role.VIEWER)
        if not given or not self._keys:
            raise Unauthorized
        claims = self._claims(given)
        roles = self._roles(claims)
        name = f"jwt:{_NOT_IN_NAMES.sub('_', str(claims.get('sub', '')))[:_LONGEST_NAME]}".removesuffix(":")
        if self._settings.role in roles:
            return Visitor(name, Role.OPERATOR, claims["exp"])
        if self._settings.viewer_role is not None and self._settings.viewer_role in roles:
            return Visitor(name, Role.VIEWER, claims["exp"])
        raise Forbidden

    def _claims(self, token: bytes) -> dict[str, Any]:
        try:
            # The key is chosen by the algorithm: a public key must never be used as a shared secret.
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
            return claims | {"exp": float(claims["exp"])}
        except (jwt.InvalidTokenError, KeyError, ValueError, OverflowError):  # a JSON number may be above every float
            raise Unauthorized from None

    def _check_role(self, claims: dict[str, Any]) -> None:
        if self._settings.role not in self._roles(claims):
            raise Forbidden

    def _roles(self, claims: dict[str, Any]) -> list[Any]:
        claim = claims.get(self._settings.role_claim)
        return claim if isinstance(claim, list) else [claim]

    def _read_keys(self) -> dict[str, Any]:
        """The keys, each by the only algorithm that it may be used with."""
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
                raise ConfigError("CDC_API__JWT__PUBLIC_KEY", "not an RSA public key", allowed=allowed) from None
        return keys
