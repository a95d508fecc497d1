"""Tokens for a login: JWTs of which mostly one thing is wrong, and the role that each may give."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from functools import cache
from random import Random
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from consumer.commands.api.access import Role
from tests.fuzz.damage import any_value, damaged_document
from tests.unit.commands.console.desk import TOKEN, VIEWER

SECRET = "a shared secret of at least 32 bytes"
_CLAIMS = {"exp": 3600, "aud": "cdc", "role": "operator", "sub": "ann"}


def any_jwt(chance: Random) -> dict[str, Any]:
    """What a JWT is made of; mostly one thing in it is wrong."""
    alg, key = chance.choice([("HS256", "secret"), ("HS256", "secret"), ("RS256", "private")])
    header: Any = {"alg": alg, "typ": "JWT"}
    claims: Any = dict(_CLAIMS)
    kind = chance.random()
    if kind < 0.15:
        header["alg"] = chance.choice(["none", "None", "", "HS512", "RS256", "HS256", "hs256", None, 7, ["HS256"], {}])
    elif kind < 0.25:
        key = chance.choice(["public", "wrong", "empty"])
    elif kind < 0.5:
        claims[chance.choice([*claims, "nbf", "iat", "iss", "jti"])] = _claim(chance)
    elif kind < 0.6:
        claims = damaged_document(claims, chance)
    elif kind < 0.7:
        header = damaged_document(header, chance)
    elif kind < 0.75:
        header["crit"] = chance.choice([["exp"], [], "x", None])
    found = {"header": header, "claims": claims, "key": key}
    if chance.random() < 0.15:
        found["part"] = chance.randrange(3)
        found["text"] = chance.choice(["", "=", "e30", "bnVsbA", "W10", "A" * 3000, "DEEP", "\xe9", "e30.e30"])
    return found


def _claim(chance: Random) -> Any:
    words = [
        "cdc",
        ["cdc", "x"],
        "operator",
        "viewer",
        ["viewer", "operator"],
        ["viewer"],
        {"operator": 1},
        -10,
        0,
        3600,
    ]
    return chance.choice([*words, "3600", 1e308, float("inf"), float("nan"), 10**400, [[]], True, any_value(chance)])


def token_of(given: Any) -> tuple[str, Role | None]:
    """The text of a token, and the role that a login with it may give; None: no login."""
    if not isinstance(given, dict):
        roles = {TOKEN: Role.OPERATOR, VIEWER: Role.VIEWER}
        return str(given), roles.get(str(given).strip())
    header, claims, key = given.get("header"), given.get("claims"), given.get("key")
    if isinstance(claims, dict):
        # Times are from now on, so that an input is the same tomorrow.
        is_time = {
            name: type(claims.get(name)) in (int, float) and abs(claims[name]) < 10**9 for name in ("exp", "nbf")
        }
        claims = claims | {name: time.time() + claims[name] for name, is_number in is_time.items() if is_number}
    parts = [_part(header), _part(claims)]
    parts.append(_signature(".".join(parts), header, str(key)))
    if "part" in given:
        parts[given["part"]] = _part("[" * 40_000) if given.get("text") == "DEEP" else given.get("text", "")
    return ".".join(parts), _role(header, claims, key) if "part" not in given else None


def _role(header: Any, claims: Any, key: Any) -> Role | None:
    if not isinstance(header, dict) or (header.get("alg"), key) not in (("HS256", "secret"), ("RS256", "private")):
        return None
    if not isinstance(claims, dict) or "exp" not in claims:
        return None
    try:
        is_over = float(claims["exp"]) <= time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    audience, roles = claims.get("aud"), claims.get("role")
    if is_over or not (audience == "cdc" or (isinstance(audience, list) and "cdc" in audience)):
        return None
    roles = roles if isinstance(roles, list) else [roles]
    return Role.OPERATOR if "operator" in roles else Role.VIEWER if "viewer" in roles else None


def _part(value: Any) -> str:
    text = value if isinstance(value, str) and value.startswith("[[") else json.dumps(value)
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _signature(text: str, header: Any, key: str) -> str:
    alg = header.get("alg") if isinstance(header, dict) else None
    found = jwt.get_algorithm_by_name("RS256" if key == "private" else "HS256")
    keys = {"public": public_key(), "wrong": b"another secret of 32 bytes and more"}
    if key == "empty" or alg in ("none", "None", ""):
        return ""
    used = keys.get(key, SECRET.encode())
    if key == "public":  # the algorithm itself refuses a PEM as a secret
        return urlsafe_b64encode(hmac.digest(used, text.encode(), "sha256")).decode().rstrip("=")
    prepared: Any = _private_key() if key == "private" else used
    return urlsafe_b64encode(found.sign(text.encode(), prepared)).decode().rstrip("=")


@cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def public_key() -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _private_key().public_key().public_bytes(serialization.Encoding.PEM, form)
