"""Starts the page: Gradio behind the guard, in one process, on one socket."""

import contextlib
import hmac
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from gradio.themes import Default

from speak_jax import bundle
from speak_jax.app import folder as folders
from speak_jax.app.guard import Guard
from speak_jax.app.page import Limits, Page
from speak_jax.common import packaged
from speak_jax.inference.desk import Desk
from speak_jax.inference.model import Model, load

USER = "speak"
SWEEP_S = 60.0
CONNECTIONS = 200  # at once; an open page holds two
END_S = 1  # that open pages have to go when the server ends
CSS = Path(__file__).parents[1] / "assets" / "app.css"
FONTS = ["system-ui", "sans-serif"]


def serve(
  folder: Path,
  listener: socket.socket,
  *,
  host: str,
  model: str,
  local: bool,
  password: str | None,
  sound_s: float,
  upload_mb: int,
  job_s: float,
) -> None:
  """Serves until the process is told to end.

  Args:
    folder: For uploads and results.
    listener: Where visitors come.
    host: Its address, as the user says it.
    model: For `speak_jax.load`.
    local: Whether the address is this machine's alone.
    password: Of USER; None: everybody may come.
    sound_s, upload_mb, job_s: Limits of a visitor.

  Raises:
    ValueError: the bundle cannot be used, or a face model is missing.
  """
  place = packaged.model(model)
  limits = Limits(sound_s, upload_mb << 20, job_s)
  desk = Desk(job_s)
  try:
    made = load(place, cache=True)
    application = application_of(
      made,
      desk,
      folder,
      limits,
      local=local,
      password=password,
      moves_photographs=bundle.moves_photographs(place),
    )
    name = f"[{host}]" if ":" in host else host
    print(
      f"app: http://{name}:{listener.getsockname()[1]}/  (Ctrl-C ends it)",
      flush=True,
    )
    with _swept(folder):
      server_of(application).run(sockets=[listener])
  finally:
    desk.close()


def application_of(
  model: Model,
  desk: Desk,
  folder: Path,
  limits: Limits,
  *,
  local: bool,
  password: str | None,
  moves_photographs: bool,
) -> Guard:
  """The page as an ASGI application.

  Args:
    model, desk, limits, moves_photographs: As for `Page`.
    folder: For uploads and results; two are made in it.
    local, password: As for `serve`.
  """
  uploads, results = folder / "uploads", folder / "results"
  for place in (uploads, results):
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
  # Gradio asks for it whenever it stores a file.
  os.environ["GRADIO_TEMP_DIR"] = str(uploads)
  page = Page(model, desk, results, limits, moves_photographs).blocks()
  page.has_launched = True  # or paths of inputs are not checked

  def allowed(user: str, word: str) -> bool:
    right = f"{USER}\n{password}".encode()
    return hmac.compare_digest(f"{user}\n{word}".encode(), right)

  auth: Any = None if password is None else allowed
  application = gr.mount_gradio_app(
    _bare(),
    page,
    path="/",
    auth=auth,
    allowed_paths=[],
    show_error=False,
    max_file_size=limits.upload_bytes,
    footer_links=[],
    run_history=False,
    enable_monitoring=False,
    ssr_mode=False,
    mcp_server=False,
    pwa=False,
    theme=Default(font=FONTS, font_mono=["monospace"]),
    css_paths=[CSS],
  )
  return Guard(application, folder, limits.upload_bytes, local)


def server_of(application: Any) -> uvicorn.Server:
  """A server of an application; `run` wants the sockets."""
  config = uvicorn.Config(
    application,
    log_level="warning",
    access_log=False,
    server_header=False,
    ws="none",
    limit_concurrency=CONNECTIONS,
    timeout_graceful_shutdown=END_S,
  )
  server = uvicorn.Server(config)
  # Of pages that are still open when it ends there is nothing to say.
  logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
  return server


def _bare() -> Any:
  """A FastAPI application without pages of its own."""
  from fastapi import FastAPI

  return FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@contextlib.contextmanager
def _swept(folder: Path) -> Iterator[None]:
  """Removes what is old, as long as the context lasts."""
  ended = threading.Event()

  def work() -> None:
    while not ended.wait(SWEEP_S):
      folders.sweep(folder)

  thread = threading.Thread(target=work, name="sweep", daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()
