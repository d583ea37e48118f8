"""A headless Chromium for tests: DevTools messages over a pipe, no library."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WAIT_S = 60.0
# Nobody calls home, and no proxy or name server is there to be called.
OPTIONS = (
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--hide-scrollbars",
  "--autoplay-policy=no-user-gesture-required",
  "--proxy-server=127.0.0.1:9",
  "--proxy-bypass-list=127.0.0.1",  # a server of the test itself
  "--remote-debugging-pipe",
)


class Page:
  """One tab."""

  def __init__(self, browser: "Browser", session: str):
    self._browser, self._session = browser, session
    self.call("Page.enable")
    self.call("Network.enable")
    self.call("Runtime.enable")
    self.call("Log.enable")

  def call(self, method: str, **params: Any) -> dict[str, Any]:
    return self._browser.call(method, self._session, **params)

  def run(self, script: str) -> Any:
    """Value of an expression; what it throws is an error here."""
    found = self.call(
      "Runtime.evaluate",
      expression=script,
      returnByValue=True,
      awaitPromise=True,
      userGesture=True,
    )
    assert "exceptionDetails" not in found, found["exceptionDetails"]
    return found["result"].get("value")

  def wait(self, script: str) -> Any:
    """The first value of an expression that counts as true."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
      if value := self.run(script):
        return value
      time.sleep(0.02)
    raise AssertionError(f"never true: {script}")

  def open(
    self,
    path: Path | str,
    width: int = 1200,
    height: int = 900,
    dark: bool = False,
    script: bool = True,
  ) -> None:
    """Loads a file, or an address, and waits for it."""
    self.call(
      "Emulation.setDeviceMetricsOverride",
      width=width,
      height=height,
      deviceScaleFactor=1,
      mobile=width < 600,
    )
    scheme = {
      "name": "prefers-color-scheme",
      "value": "dark" if dark else "light",
    }
    self.call("Emulation.setEmulatedMedia", features=[scheme])
    self.call("Emulation.setScriptExecutionDisabled", value=not script)
    url = path if isinstance(path, str) else path.resolve().as_uri()
    self.call("Page.navigate", url=url)
    self.wait("document.readyState === 'complete'")

  def key(self, name: str) -> None:
    """A key pressed and let go; `name` is that of KeyboardEvent.key."""
    text = {"text": name} if len(name) == 1 else {}
    self.call("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
    self.call("Input.dispatchKeyEvent", type="keyUp", key=name)

  def give(self, where: str, *paths: Path) -> None:
    """Puts files into the file input that a selector finds."""
    root = self.call("DOM.getDocument")["root"]["nodeId"]
    found = self.call("DOM.querySelector", nodeId=root, selector=where)
    files = [str(path) for path in paths]
    self.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=files)

  def screenshot(self, path: Path, whole: bool = True) -> None:
    found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
    path.write_bytes(base64.b64decode(found["data"]))

  def pdf(self) -> bytes:
    """The page as it is printed."""
    return base64.b64decode(self.call("Page.printToPDF")["data"])

  def complaints(self, host: str = "") -> list[str]:
    """Errors of scripts and of the content policy, and network requests.

    Args:
      host: Of addresses that it may ask for, "http://name:port/".
    """
    known = ("file:", "data:", "blob:", *([host] if host else []))
    found = []
    for event in self._browser.events:
      if event.get("sessionId") != self._session:
        continue
      params, method = event["params"], event["method"]
      if method == "Network.requestWillBeSent":
        url = params["request"]["url"]
        if not url.startswith(known):
          found.append(f"asked for {url}")
      elif method == "Runtime.exceptionThrown":
        found.append(params["exceptionDetails"]["text"])
      elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
        found.append(params["entry"]["text"])
    return found


class Browser:
  """The process."""

  def __init__(self, commands: int, answers: int):
    self._out = os.fdopen(commands, "wb", buffering=0)
    self._in = os.fdopen(answers, "rb", buffering=0)
    self._rest, self._count = b"", 0
    self.events: list[dict[str, Any]] = []

  def page(self) -> Page:
    target = self.call("Target.createTarget", url="about:blank")["targetId"]
    found = self.call("Target.attachToTarget", targetId=target, flatten=True)
    return Page(self, found["sessionId"])

  def downloads(self, folder: Path) -> None:
    """Where links with `download` put their files."""
    self.call(
      "Browser.setDownloadBehavior",
      behavior="allow",
      downloadPath=str(folder),
    )

  def call(
    self, method: str, session: str = "", **params: Any
  ) -> dict[str, Any]:
    self._count += 1
    message = {"id": self._count, "method": method, "params": params}
    if session:
      message["sessionId"] = session
    self._out.write(json.dumps(message).encode() + b"\0")
    while True:
      answer = self._next()
      if answer.get("id") == self._count:
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]
      self.events.append(answer)

  def _next(self) -> dict[str, Any]:
    while b"\0" not in self._rest:
      piece = self._in.read(1 << 16)
      assert piece, "the browser has gone"
      self._rest += piece
    message, self._rest = self._rest.split(b"\0", 1)
    return json.loads(message)

  def close(self) -> None:
    self._out.close()
    self._in.close()


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
  """Starts one with a new profile, or skips the test."""
  program = next(filter(None, map(shutil.which, NAMES)), None)
  if program is None:
    pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
  theirs_in, ours_out = _pipe()
  ours_in, theirs_out = _pipe()
  # Chromium reads 3 and writes 4; bash moves our ends there.
  process = subprocess.Popen(
    [
      *("bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash"),
      *(program, *OPTIONS, f"--user-data-dir={profile}"),
    ],
    pass_fds=(theirs_in, theirs_out),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  os.close(theirs_in)
  os.close(theirs_out)
  made = Browser(ours_out, ours_in)
  try:
    yield made
  finally:
    made.close()
    process.terminate()
    process.wait(WAIT_S)


def _pipe() -> tuple[int, int]:
  """Both ends above the numbers that the browser wants."""
  ends = os.pipe()
  high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
  for end in ends:
    os.close(end)
  return high[0], high[1]
