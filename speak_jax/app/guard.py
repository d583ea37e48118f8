"""What stands before Gradio: the few requests that the page needs, in bounds.

Gradio has routes that fetch from other hosts, run commands of a chat or show
who is there. Whatever the page does not use is not found; a body has a limit,
and a time in which it has to come; a file that a request names is one of the
page's own folder. Requests that another site's page makes are refused.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

from speak_jax.app import folder as folders
from speak_jax.common import loopback

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_API = "/gradio_api"
_READ = re.compile(
  r"/(?:|config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|logout"
  r"|login_check|(?:assets|static|svelte)/.*|gradio_api/(?:theme\.css|user/?"
  r"|app_id/?|token/?|login_check/?|startup-events|upload_progress|queue/data"
  r"|heartbeat/[A-Za-z0-9-]{1,64}|file=.*))"
)
_WRITE = re.compile(
  r"/(?:login/?|gradio_api/(?:upload|queue/join|cancel|reset))"
)
_UPLOAD, _FILE = f"{_API}/upload", f"{_API}/file="
JSON_BYTES = 64 << 10  # what the page's widgets hold, but for files
UPLOADS = 4  # at once
CHUNK_S, BODY_S = 30.0, 600.0  # that a part, and a whole body, may take
LOGINS, LOGINS_S = 20, 60.0  # tries of all visitors, in so many seconds
# Scripts of Gradio stand in its page and compile their templates.
HEADERS = {
  "content-security-policy": "default-src 'self'; script-src 'self'"
  " 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline';"
  " img-src 'self' data: blob:; media-src 'self' data: blob:;"
  " font-src 'self' data:; connect-src 'self' data: blob:;"
  " worker-src 'self' blob:; object-src 'none'; base-uri 'self';"
  " form-action 'self'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
}


class _Refused(Exception):
  def __init__(self, status: int, line: str):
    super().__init__(line)
    self.status, self.line = status, line


class Guard:
  """An ASGI application before another one."""

  def __init__(self, app: Any, folder: Path, upload_bytes: int, local: bool):
    """Stands before an application.

    Args:
      app: ASGI, Gradio's.
      folder: The only one that files are read from or written to.
      upload_bytes: The most of one file.
      local: Whether the address is this machine's alone. Then a request that
        came by another name is none of a person who sits here.
    """
    self._app, self._folder, self._local = app, folder, local
    self._upload_bytes = upload_bytes
    self._uploads = 0
    self._logins: list[float] = []

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Serves one request."""
    if scope["type"] == "lifespan":
      await self._app(scope, receive, send)
      return
    if scope["type"] != "http":
      await send({"type": "websocket.close", "code": 1008})
      return
    begun = False
    body = _Body(receive)

    async def sends(message: MutableMapping[str, Any]) -> None:
      nonlocal begun
      if body.refused and not begun:
        return  # its own answer to an upload that broke off
      if message["type"] == "http.response.start":
        begun = True
        message["headers"] = [*message["headers"], *_headers()]
      await send(message)

    refused = None
    try:
      await self._serve(scope, body, sends)
    except _Refused as error:
      refused = error
    refused = body.refused or refused
    if refused is not None and not begun:
      await _answer(send, refused.status, refused.line)

  async def _serve(self, scope: Scope, body: "_Body", send: Send) -> None:
    path = scope["path"]
    head = {
      k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]
    }
    self._check_origin(head)
    if scope["method"] in ("GET", "HEAD"):
      if not _READ.fullmatch(path):
        raise _Refused(404, "there is no such page")
      if path.startswith(_FILE):
        self._check_file(path.removeprefix(_FILE))
      await self._app(scope, body.receive, send)
      return
    if scope["method"] != "POST" or not _WRITE.fullmatch(path):
      raise _Refused(404, "there is no such page")
    if path != _UPLOAD:
      body.limit(head, JSON_BYTES)
      content = await body.whole()
      if path.startswith("/login"):
        self._count_login()
      else:
        self._check_body(content)
      await self._app(scope, body.receive, send)
      return
    if self._uploads >= UPLOADS:
      raise _Refused(503, "too many uploads at once; try again in a minute")
    if folders.held(self._folder) > folders.MOST_BYTES:
      raise _Refused(507, "the server is full; try again in an hour")
    self._uploads += 1
    try:
      body.limit(head, self._upload_bytes + JSON_BYTES)
      await self._app(scope, body.receive, send)
    finally:
      self._uploads -= 1

  def _check_origin(self, head: dict[str, str]) -> None:
    """Refuses what the page of another site, or by another name, asks for."""
    host = head.get("host", "")
    name = loopback.parsed(f"//{host}").hostname
    if self._local and name not in loopback.NAMES:
      raise _Refused(403, "this page is for the machine that it runs on")
    origin = head.get("origin")
    if origin is not None and loopback.parsed(origin).netloc != host:
      raise _Refused(403, "this request came from another site")

  def _check_file(self, path: str) -> None:
    if not folders.inside(self._folder, path):
      raise _Refused(404, "there is no such file; files go after an hour")

  def _check_body(self, body: bytes) -> None:
    """Refuses JSON that names a file of elsewhere."""
    try:
      values: list[Any] = [json.loads(body)]
    except (ValueError, RecursionError):
      raise _Refused(400, "this is no JSON") from None
    while values:
      value = values.pop()
      if isinstance(value, list):
        values.extend(value)
      elif isinstance(value, dict):
        if "path" in value:
          self._check_path(value["path"])
        values.extend(value.values())

  def _check_path(self, path: Any) -> None:
    if not isinstance(path, str) or not folders.inside(self._folder, path):
      raise _Refused(400, "no such file was uploaded; files go after an hour")

  def _count_login(self) -> None:
    now = time.monotonic()
    self._logins = [x for x in self._logins if now - x < LOGINS_S]
    if len(self._logins) >= LOGINS:
      raise _Refused(429, "too many logins; try again in a minute")
    self._logins.append(now)


class _Body:
  """The body of one request, in bounds."""

  def __init__(self, receive: Receive):
    self._receive = receive
    self._most, self._got, self._end = 0, 0, time.monotonic() + BODY_S
    self._ended = False
    self._kept: list[MutableMapping[str, Any]] = []
    self.refused: _Refused | None = None

  def limit(self, head: dict[str, str], most: int) -> None:
    """Lets so many bytes come."""
    self._most = most
    length = head.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
      self._refuse(413, f"over {most >> 20 or 1} MB, which is the limit")

  async def receive(self) -> MutableMapping[str, Any]:
    """The next message, or what was read before."""
    if self._kept:
      return self._kept.pop(0)
    if self._ended or not self._most:
      return await self._receive()
    wait = min(CHUNK_S, self._end - time.monotonic())
    try:
      message = await asyncio.wait_for(self._receive(), max(wait, 0.0))
    except TimeoutError:
      self._refuse(408, "the upload stands still")
    self._got += len(message.get("body", b""))
    if self._got > self._most:
      self._refuse(413, f"over {self._most >> 20 or 1} MB, which is the limit")
    self._ended = not message.get("more_body", False)
    return message

  async def whole(self) -> bytes:
    """Reads all of it, for the application to read once more."""
    found = b""
    while not self._ended:
      message = await self.receive()
      found += message.get("body", b"")
    self._kept = [{"type": "http.request", "body": found, "more_body": False}]
    return found

  def _refuse(self, status: int, line: str) -> NoReturn:
    self.refused = _Refused(status, line)
    raise self.refused


def _headers() -> list[tuple[bytes, bytes]]:
  return [(k.encode(), v.encode()) for k, v in HEADERS.items()]


async def _answer(send: Send, status: int, line: str) -> None:
  body = json.dumps({"detail": line}).encode()
  head = [(b"content-type", b"application/json"), *_headers()]
  head += [(b"content-length", str(len(body)).encode())]
  head += [(b"connection", b"close")]
  await send({"type": "http.response.start", "status": status, "headers": head})
  await send({"type": "http.response.body", "body": body})
