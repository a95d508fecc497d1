"""Who the health API lets in."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from consumer.commands.api.access import Access, Forbidden, Unauthorized
from consumer.commands.api.limit import Limit
from consumer.errors import ConfigError
from consumer.settings.sections import Api

RIGHT = "the-right-token-1"
SECRET = "a shared secret of at least 32 bytes"
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: object) -> dict[str, object]:
    given = {"exp": int(time.time()) + 60, "aud": "health", "role": "admin"} | changes
    return {name: value for name, value in given.items() if value is not None}


def access(**changes: object) -> Access:
    keys = {"audience": "health", "role": "admin"} | changes
    return Access(Api.model_validate({"jwt": keys}))


@pytest.fixture
def public_key(tmp_path: Path) -> Path:
    file = tmp_path / "key.pem"
    file.write_bytes(PEM)
    return file


def test_the_token_and_nothing_else() -> None:
    guard = Access(Api.model_validate({"token": RIGHT}))
    guard.check(RIGHT)
    for wrong in (
        None,
        "",
        RIGHT[:-1],
        f"{RIGHT} ",
        RIGHT.upper(),
        RIGHT.replace("i", "\u00ef"),
        jwt.encode(claims(), SECRET),
    ):
        with pytest.raises(Unauthorized):
            guard.check(wrong)


@pytest.mark.parametrize("roles", ["admin", ["support", "admin"]])
def test_a_jwt_with_the_role(roles: object, public_key: Path) -> None:
    access(secret=SECRET).check(jwt.encode(claims(role=roles), SECRET))
    access(public_key=public_key).check(jwt.encode(claims(role=roles), PRIVATE, "RS256"))


@pytest.mark.parametrize("role", [None, "support", ["support"], "administrator", {"admin": True}, 1])
def test_a_jwt_without_the_role(role: object) -> None:
    with pytest.raises(Forbidden):
        access(secret=SECRET).check(jwt.encode(claims(role=role), SECRET))


WRONG = {
    "expired": claims(exp=int(time.time()) - 1),
    "an end that no clock can reach": claims(exp=10**400),
    "without an end": claims(exp=None),
    "for somebody else": claims(aud="shop"),
    "for nobody": claims(aud=None),
    "not valid yet": claims(nbf=int(time.time()) + 60),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_jwt_that_is_not_valid(name: str) -> None:
    with pytest.raises(Unauthorized):
        access(secret=SECRET).check(jwt.encode(WRONG[name], SECRET))
    with pytest.raises(Unauthorized):
        access(secret=SECRET).visitor(jwt.encode(WRONG[name], SECRET))


def test_a_jwt_of_another_key_or_algorithm(public_key: Path) -> None:
    by_secret, by_key = access(secret=SECRET), access(public_key=public_key)
    with pytest.raises(Unauthorized):
        by_secret.check(jwt.encode(claims(), SECRET + "x"))
    for algorithm in ("HS384", "HS512"):
        with pytest.raises(Unauthorized):
            by_secret.check(jwt.encode(claims(), SECRET * 2, algorithm))
    with pytest.raises(Unauthorized):
        by_secret.check(jwt.encode(claims(), "", "none"))
    with pytest.raises(Unauthorized):
        by_secret.check(jwt.encode(claims(), PRIVATE, "RS256"))
    with pytest.raises(Unauthorized):
        by_key.check(jwt.encode(claims(), PRIVATE, "RS512"))
    with pytest.raises(Unauthorized):
        by_key.check("a.b.c")


def test_the_public_key_is_never_taken_for_a_secret(public_key: Path) -> None:
    header, payload, _ = jwt.encode(claims(), SECRET).split(".")
    signed = jwt.get_algorithm_by_name("HS256").sign(f"{header}.{payload}".encode(), PEM)
    forged = f"{header}.{payload}.{jwt.utils.base64url_encode(signed).decode()}"
    for guard in (access(public_key=public_key), access(public_key=public_key, secret=SECRET)):
        with pytest.raises(Unauthorized):
            guard.check(forged)


def test_nobody_could_be_let_in() -> None:
    with pytest.raises(ConfigError, match="CDC_API__TOKEN"):
        Access(Api())


def test_so_many_refreshes_a_minute() -> None:
    limit = Limit(2)
    assert [limit.wait_s() for _ in range(2)] == [0, 0]
    assert 0 < limit.wait_s() <= 60
