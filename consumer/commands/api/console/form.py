"""A form that the browser sent: its size, its type, and whether a page of this console sent it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from consumer.commands.api.console.session import NotAllowed

_MOST_BYTES = 512 * 1024
_MOST_FIELDS = 20
_TYPE = "application/x-www-form-urlencoded"
_OF_SAME_SITE = ("same-origin", "none")
CSRF = "csrf"
"""The field with the session's token."""


class NotAForm(Exception):
    """The request has no form, or one that is too large; the text says what is wrong."""


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields; of several with one name the last.

    Raises:
        NotAForm: there is no form, or it is too large.
        NotAllowed: another site sent it.
    """
    check_origin(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != _TYPE:
        raise NotAForm("no form was sent")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise NotAForm(f"the form is larger than {_MOST_BYTES // 1024} kB")
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise NotAForm("the form can't be read") from None


def check_origin(request: Request) -> None:
    """Return if a page of this host sent the request, as far as the browser says so.

    Raises:
        NotAllowed: another site sent it.
    """
    if request.headers.get("sec-fetch-site", "none") not in _OF_SAME_SITE:
        raise NotAllowed("another site sent this form")
    origin = request.headers.get("origin")
    # Behind a proxy the scheme and the port may differ; the proxy must pass the host.
    if origin is not None and _host(origin) != request.url.hostname:
        raise NotAllowed("another site sent this form")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:  # such as http://[
        return None
