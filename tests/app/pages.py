"""A page that is served in this process, and people who visit it by HTTP."""

import contextlib
import gc
import json
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from data_pipelines.media.audio import whole
from speak_jax.app import server
from speak_jax.app.__main__ import listening
from speak_jax.app.page import Limits
from speak_jax.inference.contact_sheet import Row
from speak_jax.inference.desk import Desk
from speak_jax.inference.model import Model
from speak_jax.inference.take import Take
from tests.test_generate import Centred

LIMITS = Limits(sound_s=20.0, upload_bytes=1 << 20, job_s=30.0)
FPS, SIDE, COUNT = 25.0, 32, 10
WAIT_S = 20.0


class Fake:
  """Frames of one grey; each waits until it may come."""

  def __init__(self):
    self.may, self.requests = threading.Event(), []
    self.made, self.ended = 0, threading.Event()
    self.begun = threading.Event()
    self.count = COUNT
    self.error: Exception | None = None
    self.may.set()

  def take(self, request: Any, tracker: Any, say: Callable) -> Take:
    self.requests.append(request)
    self.made = 0
    self.ended.clear()
    self.begun.clear()
    for name in ("speech", "identity", "pose", "emotion"):
      say(f"{name}    {request.identity}")
    if self.error is not None:
      raise self.error

    def frames():
      try:
        for _ in range(self.count):
          self.begun.set()
          self.may.wait(WAIT_S)
          self.made += 1
          yield np.full((SIDE, SIDE, 3), 90, np.uint8)
      finally:
        self.ended.set()

    sound = np.zeros(round(self.count / FPS * 16_000), np.int16)
    picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
    return Take(
      frames=frames(),
      count=self.count,
      fps=FPS,
      width=SIDE,
      height=SIDE,
      sound=lambda: whole(sound),
      rows=lambda shown: [Row("made", list(shown.frames))],
      picture=picture,
    )


class Place:
  """A page that is being served."""

  def __init__(self, folder: Path, port: int, desk: Desk, fake: Fake | None):
    self.folder, self.port, self.desk, self.fake = folder, port, desk, fake
    self.url = f"http://127.0.0.1:{port}"
    self._clients: list[httpx.Client] = []

  def client(self) -> httpx.Client:
    """A connection of somebody new."""
    self._clients.append(httpx.Client(base_url=self.url, timeout=WAIT_S))
    return self._clients[-1]

  def close(self) -> None:
    for client in self._clients:
      client.close()


@contextlib.contextmanager
def served(
  folder: Path,
  model: Model | None = None,
  password: str | None = None,
  limits: Limits = LIMITS,
) -> Iterator[Place]:
  """Serves a model's page, or a fake one's, until the context ends."""
  fake = None
  desk = Desk(limits.job_s)
  if model is None:
    fake = Fake()
    model = Model(fake.take, Centred())
  application = server.application_of(
    model,
    desk,
    folder,
    limits,
    local=True,
    password=password,
    moves_photographs=True,
  )
  running = server.server_of(application)
  listener = listening("127.0.0.1", 0)
  thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
  thread.start()
  place = Place(folder, listener.getsockname()[1], desk, fake)
  try:
    until(lambda: running.started)
    yield place
  finally:
    if fake is not None:
      fake.may.set()
    running.should_exit = True
    thread.join(WAIT_S)
    place.close()
    desk.close()
    with warnings.catch_warnings():
      # Gradio makes an event loop in each thread, and closes none.
      warnings.simplefilter("ignore")
      gc.collect()


def until(true: Callable[[], Any]) -> Any:
  """Waits for the first value that counts as true."""
  end = time.monotonic() + WAIT_S
  while time.monotonic() < end:
    if value := true():
      return value
    time.sleep(0.02)
  raise AssertionError("never true")


class Visitor:
  """Somebody's browser, without the browser."""

  def __init__(self, place: Place, client: httpx.Client | None = None):
    self.client = client or place.client()
    self.session, self.event = uuid.uuid4().hex, ""
    self.config = self.client.get("/config").json()

  def component(self, name: str) -> int:
    (found,) = [
      x["id"]
      for x in self.config["components"]
      if x["props"].get("elem_id") == name
    ]
    return found

  def upload(self, name: str, content: bytes) -> httpx.Response:
    files = {"files": (name, content, "application/octet-stream")}
    return self.client.post("/gradio_api/upload", files=files)

  def uploaded(self, name: str, content: bytes) -> dict[str, Any]:
    (path,) = self.upload(name, content).json()
    return file_of(path)

  def click(self, button: str) -> dict[str, Any]:
    """What a button's click runs."""
    wanted = [self.component(button), "click"]
    (found,) = [
      x
      for x in self.config["dependencies"]
      if x["backend_fn"] and wanted in [list(t) for t in x["targets"]]
    ]
    return found

  def join(self, event: dict[str, Any], data: list) -> httpx.Response:
    body = dict(
      data=data,
      fn_index=event["id"],
      session_hash=self.session,
      event_data=None,
      trigger_id=None,
    )
    return self.client.post("/gradio_api/queue/join", json=body)

  def begin(self, identity: Any, audio: Any, **changed: Any) -> dict[str, Any]:
    """Clicks on "Make the video"; gives its event."""
    event = self.click("make-one")
    values = {
      x["id"]: x["props"].get("value") for x in self.config["components"]
    }
    values[self.component("identity-one")] = identity
    values[self.component("audio-one")] = audio
    for name, value in changed.items():
      values[self.component(name)] = value
    answer = self.join(event, [values[x] for x in event["inputs"]])
    assert answer.status_code == 200, answer.text
    self.event = answer.json()["event_id"]
    return event

  def steps(self) -> Iterator[dict[str, Any]]:
    """What the server tells of the last video that was begun."""
    params = {"session_hash": self.session}
    with self.client.stream(
      "GET", "/gradio_api/queue/data", params=params
    ) as r:
      for line in r.iter_lines():
        if line.startswith("data:"):
          message = json.loads(line.removeprefix("data:"))
          if message.get("event_id") == self.event:
            yield message
            if message["msg"] == "process_completed":
              return

  def end(self, event: dict[str, Any]) -> "End":
    """What the page shows when the work is done."""
    shown: list = []
    for message in self.steps():
      if message["msg"] not in ("process_generating", "process_completed"):
        continue
      output = message["output"]
      assert message["success"], output
      data = output.get("data")
      if data:
        shown = patched(shown, data)
    return End(self, dict(zip(event["outputs"], shown, strict=True)))


class End:
  """The widgets at the end, by element id."""

  def __init__(self, visitor: Visitor, values: dict[int, Any]):
    self._visitor, self._values = visitor, values

  def __getitem__(self, name: str) -> Any:
    value = self._values[self._visitor.component(name)]
    if isinstance(value, dict) and value.get("__type__") == "update":
      return value.get("value")
    return value


def patched(shown: list, data: list) -> list:
  """Applies what Gradio sends: whole values first, differences later."""
  found = []
  for i, new in enumerate(data):
    if not (isinstance(new, list) and all(isinstance(x, list) for x in new)):
      found.append(new)
      continue
    old = shown[i]
    for action, path, value in new:
      old = _changed(old, action, path, value)
    found.append(old)
  return found


def _changed(old: Any, action: str, path: list, value: Any) -> Any:
  if not path:
    return old + value if action == "append" else value
  old = dict(old) if isinstance(old, dict) else list(old)
  head, *rest = path
  if rest or action == "append":
    old[head] = _changed(old[head], action, rest, value)
  elif action == "delete":
    del old[head]
  else:
    old[head] = value
  return old


def file_of(path: str) -> dict[str, Any]:
  """How a browser names a file that was uploaded."""
  return {"path": path, "meta": {"_type": "gradio.FileData"}}
