"""Who may ask, and how much may come: before anything is looked at."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from speak_jax.common import loopback
from speak_jax.serving.limits import Limits

_OPEN = ("/health",)  # what needs no token


def fits(token: str, given: str | None) -> bool:
  """Whether a token is the right one, in a time that tells nothing of it."""
  digests = [
    hashlib.sha256((x or "").encode()).digest() for x in (token, given)
  ]
  return given is not None and hmac.compare_digest(*digests)


def refusal(headers: Mapping[str, str], token: str) -> str | None:
  """Why a page of the web may not ask; None: it may.

  Without a token a server is for this machine: a page that a browser has from
  elsewhere must not reach it, nor one whose name was turned to 127.0.0.1.
  """
  if token:
    return None
  host = loopback.parsed(f"//{headers.get('host', '')}").hostname
  if host not in loopback.NAMES:
    return "the Host is not this machine"
  origin = headers.get("origin")
  if origin is None:
    return None
  if loopback.parsed(origin).hostname not in loopback.NAMES:
    return "the Origin is not this machine"
  return None


def bearer(headers: Mapping[str, str]) -> str | None:
  """The token of a header `Authorization: Bearer TOKEN`."""
  kind, _, value = headers.get("authorization", "").partition(" ")
  return value.strip() if kind.lower() == "bearer" else None


class Guard:
  """Lets requests through that may ask, up to so many bytes."""

  def __init__(
    self,
    app: ASGIApp,
    token: str,
    limits: Limits,
    count: Callable[[str, int], None],
  ):
    """Stands before an app.

    Args:
      app: Behind it.
      token: That every request needs but that of health; "": none.
      limits: Of bytes and seconds.
      count: Told of each answer: method and status.
    """
    self._app, self._token, self._limits = app, token, limits
    self._count = count

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Serves a request; a WebSocket says its token itself."""
    if scope["type"] != "http":
      await self._app(scope, receive, send)
      return
    method = scope["method"]

    async def counted(message: Message) -> None:
      if message["type"] == "http.response.start":
        self._count(method, message["status"])
      await send(message)

    headers = _headers(scope)
    reason = refusal(headers, self._token)
    length = headers.get("content-length", "0")
    limit = self._limits.upload_bytes
    if reason is not None:
      await _answer(403, reason)(scope, receive, counted)
    elif (
      self._token
      and scope["path"] not in _OPEN
      and not fits(self._token, bearer(headers))
    ):
      await _answer(401, "a token is needed")(scope, receive, counted)
    elif not length.isdigit() or int(length) > limit:
      await _answer(413, f"more than {limit} bytes")(scope, receive, counted)
    else:
      await self._within(scope, receive, counted)

  async def _within(self, scope: Scope, receive: Receive, send: Send) -> None:
    left = self._limits.upload_bytes
    end = asyncio.get_running_loop().time() + self._limits.upload_s
    whole = False

    async def limited() -> Message:
      nonlocal left, whole
      if whole:
        return await receive()
      async with asyncio.timeout_at(end):
        message = await receive()
      left -= len(message.get("body", b""))
      whole = not message.get("more_body", False)
      if left < 0:
        raise TooLargeError
      return message

    await self._app(scope, limited, send)


class TooLargeError(Exception):
  """A request is longer than it may be."""


def _headers(scope: Scope) -> dict[str, str]:
  return {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}


def _answer(status: int, reason: str) -> Callable[..., Awaitable[None]]:
  return error(status, {"reason": reason})


def error(status: int, what: dict[str, Any]) -> JSONResponse:
  """One line on what is wrong."""
  more = {"Retry-After": "10"} if status == 503 else {}
  return JSONResponse({"error": what}, status, headers=more)


def protocol(limits: Limits) -> type[asyncio.Protocol]:
  """HTTP for connections that say in time what they want."""

  class Timed(H11Protocol):
    def connection_made(self, transport: Any) -> None:
      super().connection_made(transport)
      self.loop.call_later(limits.header_s, self._look)

    def _look(self) -> None:
      # Of a WebSocket the connection is another protocol's by now.
      ours = self.transport.get_protocol() is self
      if ours and self.cycle is None and not self.transport.is_closing():
        self.transport.close()

  return Timed
