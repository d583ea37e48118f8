"""The server's addresses; docs/serving.md describes them."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi import Request as Asked
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.websockets import WebSocket

from speak_jax.inference.desk import Busy
from speak_jax.inference.model import Model
from speak_jax.inference.request import Request, RequestError
from speak_jax.serving import options
from speak_jax.serving.guard import Guard, TooLargeError, error
from speak_jax.serving.jobs import Job, Jobs, State
from speak_jax.serving.limits import Limits
from speak_jax.serving.live import Streams
from speak_jax.serving.metrics import Metrics

_FILES = ("identity", "audio", "pose", "emotion")
_FIELDS = 40  # of a form, files included
_COPY = 1 << 20
_LOOK_S = 0.1  # how often a request that waits looks whether its client does
_SWEEP_S = 30.0


class Server:
  """What all requests share."""

  def __init__(
    self,
    load: Callable[[], Model],
    folder: Path,
    *,
    token: str = "",
    limits: Limits | None = None,
  ):
    """Loads the model twice: for videos, and for streams.

    Args:
      load: Loads it.
      folder: For files; empty, private, and removed afterwards.
      token: See `Guard`.
      limits: None: the usual ones.
    """
    self.limits = Limits() if limits is None else limits
    self.token, self.metrics = token, Metrics()
    self.jobs = Jobs(load(), folder, self.limits, self.metrics.job)
    self.streams = Streams(load(), folder, token, self.limits, self.metrics)
    self.since = time.monotonic()

  async def taken(self, asked: Asked) -> Job:
    """Stores a request's files and starts its job.

    Raises:
      Busy, RequestError, HTTPException: it cannot be.
    """
    job = self.jobs.new()
    try:
      async with asked.form(
        max_files=len(_FILES),
        max_fields=_FIELDS,
        max_part_size=self.limits.field_bytes,
      ) as form:
        fields = await _fields(form.multi_items(), job.folder)
      names = {k: v for k, v in fields.items() if isinstance(v, str)}
      files = {k: v for k, v in fields.items() if not isinstance(v, str)}
      for needed in _FILES[:2]:
        if needed not in files:
          raise RequestError(needed, "is missing, or no file")
      said = options.read(names, self.limits.side_px)
      self.jobs.start(job, Request(**files, **said))
    except BaseException:
      self.jobs.forget(job)
      raise
    return job


async def _fields(
  items: list[tuple[str, Any]], folder: Path
) -> dict[str, str | Path]:
  """Texts, and files under names of our own."""
  out: dict[str, str | Path] = {}
  for name, value in items:
    if name in out:
      raise RequestError(name[:40], "is there twice")
    if not isinstance(value, UploadFile):
      out[name] = value
      continue
    if name not in _FILES:
      raise RequestError(name[:40], f"files are {', '.join(_FILES)}")
    # The one ending that has a meaning: a table of angles, or of emotions.
    table = (value.filename or "").lower().endswith(".csv")
    path = folder / (f"{name}.csv" if table else name)
    with path.open("xb") as file:
      os.fchmod(file.fileno(), 0o600)
      while piece := await value.read(_COPY):
        file.write(piece)
    out[name] = path
  return out


def make(server: Server, version: str) -> Any:
  """The ASGI application.

  Args:
    server: What its requests share.
    version: Of the package.
  """

  @contextlib.asynccontextmanager
  async def life(app: FastAPI) -> AsyncIterator[None]:
    async def sweep() -> None:
      while True:
        await asyncio.sleep(_SWEEP_S)
        await asyncio.to_thread(server.jobs.sweep)

    sweeping = asyncio.create_task(sweep())
    try:
      yield
    finally:
      sweeping.cancel()
      await asyncio.to_thread(server.jobs.close)

  # Its pages of documentation would fetch scripts from elsewhere.
  app = FastAPI(
    title="SPEAK-JAX",
    version=version,
    docs_url=None,
    redoc_url=None,
    lifespan=life,
  )
  _routes(app, server)
  _errors(app)
  return Guard(app, server.token, server.limits, server.metrics.answer)


def _routes(app: FastAPI, server: Server) -> None:
  def found(name: str) -> Job:
    job = None
    if re.fullmatch(r"[\w-]{32}", name, re.ASCII):
      job = server.jobs.find(name)
    if job is None:
      raise HTTPException(404, "no such job")
    return job

  @app.get("/health")
  async def health() -> dict[str, Any]:
    seconds = round(time.monotonic() - server.since, 1)
    return {"status": "ok", "version": app.version, "seconds": seconds}

  @app.get("/metrics")
  async def metrics() -> Response:
    server.metrics.waiting.set(server.jobs.waiting)
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Response(server.metrics.text(), media_type=kind)

  @app.post("/generate")
  async def generate(asked: Asked) -> Response:
    wait = _wait(asked, server.limits)
    job = await server.taken(asked)
    end = time.monotonic() + wait
    while not job.over and time.monotonic() < end:
      if await asked.is_disconnected():
        server.jobs.forget(job)
        return Response(status_code=499)
      await asyncio.sleep(_LOOK_S)
    if job.over:
      answer = _result(job)
      if job.state == State.FAILED:  # nobody else knows its name
        server.jobs.forget(job)
      return answer
    place = {"Location": f"/jobs/{job.name}"}
    return JSONResponse(job.described(), 202, headers=place)

  @app.get("/jobs/{name}")
  async def job(name: str) -> dict[str, Any]:
    return found(name).described()

  @app.get("/jobs/{name}/result")
  async def result(name: str) -> Response:
    return _result(found(name))

  @app.delete("/jobs/{name}")
  async def cancel(name: str) -> dict[str, Any]:
    job = found(name)
    server.jobs.forget(job)
    return {"job": name, "state": State.CANCELLED.value}

  @app.websocket("/stream")
  async def stream(socket: WebSocket) -> None:
    await server.streams.serve(socket)


def _wait(asked: Asked, limits: Limits) -> float:
  """Seconds that a request waits for its video."""
  text = asked.query_params.get("wait", str(limits.wait_s))
  try:
    wait = float(text)
  except ValueError:
    wait = -1.0
  if not 0 <= wait <= limits.wait_s:
    raise RequestError("wait", f"is not from 0 to {limits.wait_s:g}")
  return wait


def _result(job: Job) -> Response:
  job.told = job.over
  if job.state == State.FAILED:
    return error(422, job.error)
  if job.state != State.DONE:
    return error(409, {"reason": f"the job is {job.state.value}"})
  return FileResponse(
    job.result,
    media_type="video/mp4",
    headers={"X-Job": job.name, "Cache-Control": "no-store"},
  )


def _errors(app: FastAPI) -> None:
  """Every error as one line of JSON."""

  @app.exception_handler(HTTPException)
  async def http(asked: Asked, why: HTTPException) -> Response:
    return error(why.status_code, {"reason": str(why.detail)})

  @app.exception_handler(RequestError)
  async def request(asked: Asked, why: RequestError) -> Response:
    return error(400, {"field": why.field, "reason": why.reason})

  @app.exception_handler(Busy)
  async def busy(asked: Asked, why: Busy) -> Response:
    return error(503, {"reason": str(why)})

  @app.exception_handler(TooLargeError)
  async def large(asked: Asked, why: TooLargeError) -> Response:
    return error(413, {"reason": "more bytes than a request may have"})

  @app.exception_handler(TimeoutError)
  async def late(asked: Asked, why: TimeoutError) -> Response:
    return error(408, {"reason": "the request did not come in time"})

  @app.exception_handler(MultiPartException)
  async def parts(asked: Asked, why: MultiPartException) -> Response:
    return error(400, {"reason": "no form of several parts"})
