"""HTML that asks the network for nothing: escaped text, files put into it."""

import base64
import hashlib
import re
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np
from jaxtyping import UInt8

ASSETS = Path(__file__).parents[2] / "assets"


def fill(name: str, media: str = "data:", **parts: str) -> str:
  """A page of the assets with its style and script in it.

  Args:
    name: Name of the three files NAME.html, NAME.css and NAME.js.
    media: Where the page's policy lets videos come from.
    parts: What else the page asks for, safe as HTML.
  """
  script = (ASSETS / f"{name}.js").read_text(encoding="utf-8")
  digest = hashlib.sha256(script.encode()).digest()
  policy = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline';"
    f" media-src {media}; base-uri 'none'; form-action 'none';"
    f" script-src 'sha256-{base64.b64encode(digest).decode()}'"
  )
  page = Template((ASSETS / f"{name}.html").read_text(encoding="utf-8"))
  return page.substitute(
    parts,
    policy=policy,
    style=(ASSETS / f"{name}.css").read_text(encoding="utf-8"),
    script=script,
  )


def data_uri(content: bytes, kind: str) -> str:
  """Content of a MIME type as an address that needs no network."""
  return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def png(picture: UInt8[np.ndarray, "h w 3"]) -> bytes:
  """An RGB picture as a PNG file."""
  return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


def text(plain: str) -> str:
  """Escaped, and only what UTF-8 can hold: file names may be broken."""
  return escape(plain.encode("utf-8", "replace").decode())


def name(plain: str) -> str:
  """A foreign name: marks for right-to-left stay within it."""
  return f"<bdi>{text(plain)}</bdi>"


def words(plain: str) -> str:
  """Escaped, then **strong** and `code` as in Markdown."""
  strong = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text(plain))
  return re.sub(r"`(.+?)`", r"<code>\1</code>", strong)
