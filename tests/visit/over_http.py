"""Doors of the web: the page and the server, each a process of its own."""

import html
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from tests.app.pages import Visitor
from tests.visit.cases import ROLES, Case
from tests.visit.doors import Fault, Refusal

START_S = 120.0
SIZE = "Longer side"  # the page's label


class Served:
  """A command that serves until it is ended."""

  def __init__(self, words: Sequence[str], log: Path):
    """Starts it.

    Args:
      words: After `python -m speak_jax`.
      log: What it says, for who looks afterwards.
    """
    self.log = log
    with log.open("w", encoding="utf-8") as file:
      self._process = subprocess.Popen(
        [sys.executable, "-m", "speak_jax", *words],
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=subprocess.STDOUT,
      )

  def said(self) -> str:
    """All that it has said."""
    return self.log.read_text(encoding="utf-8", errors="replace")

  def until(self, ready) -> None:
    """Waits until it answers."""
    end = time.monotonic() + START_S
    while not ready():
      if self._process.poll() is not None or time.monotonic() > end:
        self.close()
        raise Fault(f"does not start: {self.said()[-300:]}")
      time.sleep(0.2)

  def close(self) -> None:
    """Ends it, as Ctrl-C would."""
    self._process.terminate()
    try:
      self._process.wait(30)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()


class Server:
  """`speak serve`: a form of several parts, and its answer."""

  name = "server"

  def __init__(self, size: int, limit_s: float, log: Path):
    """Starts the server."""
    with socket.socket() as free:
      free.bind(("127.0.0.1", 0))
      port = free.getsockname()[1]
    self._size, self._limit_s = size, limit_s
    self._client = httpx.Client(
      base_url=f"http://127.0.0.1:{port}", timeout=limit_s
    )
    self.served = Served(["serve", "--port", str(port)], log)
    self.served.until(self._is_up)

  def visit(self, case: Case, output: Path) -> Sequence[str]:
    parts = {
      role: (path.name, path.read_bytes()) for role, path in case.inputs.items()
    }
    answer = self._client.post(
      "/generate?wait=30", files=parts, data={"size": str(self._size)}
    )
    end = time.monotonic() + self._limit_s
    while answer.status_code == 202:
      place = answer.headers["location"]
      while self._job(place)["state"] in ("queued", "running"):
        if time.monotonic() > end:
          raise Fault("the job does not end")
        time.sleep(0.1)
      answer = self._client.get(f"{place}/result")
    if answer.status_code in (400, 422):
      error = answer.json()["error"]
      raise Refusal(error["reason"], error.get("field", "no field"))
    if answer.status_code != 200:
      raise Fault(f"HTTP {answer.status_code}: {answer.text}")
    place = f"/jobs/{answer.headers['x-job']}"
    output.write_bytes(answer.content)
    said = self._job(place)["warnings"]
    self._client.delete(place)
    return said

  def close(self) -> None:
    self._client.close()
    self.served.close()

  def _job(self, place: str) -> dict:
    answer = self._client.get(place)
    if answer.status_code != 200:
      raise Fault(f"HTTP {answer.status_code}: {answer.text}")
    return answer.json()

  def _is_up(self) -> bool:
    try:
      return self._client.get("/health").status_code == 200
    except httpx.TransportError:
      return False


class Page:
  """`speak app`: what a browser sends, without the browser."""

  name = "page"
  places = ("identity-one", "audio-one", "pose-one", "emotion-file-one")

  def __init__(self, size: int, limit_s: float, log: Path):
    """Starts the page."""
    self._size = size
    self.served = Served(["app", "--port", "0"], log)
    self.served.until(lambda: "http://" in self.served.said())
    found = re.search(r"http://[^/]+/", self.served.said())
    assert found is not None
    self._client = httpx.Client(base_url=found[0], timeout=limit_s)
    self._visitor = _Person(None, self._client)  # type: ignore[arg-type]

  def visit(self, case: Case, output: Path) -> Sequence[str]:
    person = self._visitor
    given = {
      place: self._given(case.inputs[role])
      for role, place in zip(ROLES, self.places, strict=True)
      if role in case.inputs
    }
    event = person.begin(
      given.pop(self.places[0]),
      given.pop(self.places[1]),
      **given,
      **{SIZE: self._size},
    )
    end = person.end(event)
    said = {
      role: _lines(end[f"said-{place.replace('-file', '')}"])
      for role, place in zip(
        ROLES,
        ("identity-one", "audio-one", "pose-one", "emotion-one"),
        strict=True,
      )
    } | {"page": _lines(end["said-one"])}
    errors = [
      (role, line)
      for role, lines in said.items()
      for line in lines
      if line.startswith("error: ")
    ]
    if len(errors) > 1:
      raise Fault(f"{len(errors)} errors: {errors}")
    if errors:
      role, line = errors[0]
      raise Refusal(line, role)
    if "done: " not in end["status-one"]:
      raise Fault(f"the page says {_text(end['status-one'])!r}")
    output.write_bytes(self._client.get(_file(end["video"])).content)
    if self._client.get(_file(end["sheet"])).status_code != 200:
      raise Fault("no contact sheet")
    return [x for lines in said.values() for x in lines]

  def close(self) -> None:
    self._client.close()
    self.served.close()

  def _given(self, path: Path) -> dict:
    answer = self._visitor.upload(path.name, path.read_bytes())
    if answer.status_code != 200:
      raise Fault(f"upload: HTTP {answer.status_code}: {answer.text}")
    (stored,) = answer.json()
    return {
      "path": stored,
      "orig_name": path.name,
      "meta": {"_type": "gradio.FileData"},
    }


class _Person(Visitor):
  """Who finds the size by its label."""

  def component(self, name: str) -> int:
    if name != SIZE:
      return super().component(name)
    (found,) = [
      x["id"]
      for x in self.config["components"]
      if x["props"].get("label") == SIZE
    ]
    return found


def _lines(text: str | None) -> list[str]:
  """What stands beside an input."""
  found = re.findall(r"<p[^>]*>(.*?)</p>", text or "", re.DOTALL)
  return [html.unescape(x) for x in found]


def _text(text: str) -> str:
  return " ".join(_lines(text))


def _file(value: dict) -> str:
  return f"/gradio_api/file={os.fspath(value['path'])}"
