"""report.html: one file with everything in it, made of plain data.

Nothing in the page asks the network for anything, and its content policy
forbids it. Without scripts it is whole; the script adds sorting and sound.
Every text is escaped: names of clips come from other people's disks.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from speak_jax.evaluation.ledger import Figure

ASSETS = Path(__file__).parents[2] / "assets"

_STAGES = ("syncnet", "irfd", "speak")  # in the order in which they train
_POINTS = 240  # of a curve
_END = 'text-anchor="end"'
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 200, 92, 46, 6, 16
# What tells that training was sound rather than what it learned.
_HEALTH = re.compile(
  r"/(bad|grad_norm|std|spread|lr|skipped|loss_scale)(/|$)"
  r"|^data_wait$|^(data|machine)/"
)


class Video(NamedTuple):
  """One video of a clip."""

  label: str  # the method
  mp4: bytes  # H.264, small: base64 adds a third
  sound: bool = True


class Clip(NamedTuple):
  """Videos of one clip that are shown side by side."""

  name: str
  videos: Sequence[Video]
  note: str = ""


class Column(NamedTuple):
  """Head of a column."""

  title: str
  note: str = ""  # unit, and whether more is better
  digits: int = 2


class Row(NamedTuple):
  """One method's row; as many cells as the table has columns."""

  name: str
  cells: Sequence[Figure | str | None]
  n: int | None = None  # clips behind it
  undetected: float | None = None  # share of frames without a face
  published: bool = False  # somebody else's figures, another protocol


class Table(NamedTuple):
  """A table of methods, say; n and undetected are added to it."""

  title: str
  columns: Sequence[Column]
  rows: Sequence[Row]
  words: str = ""
  of: str = "method"  # what a row is


class Picture(NamedTuple):
  """A picture with what it shows."""

  caption: str
  png: bytes


class Curve(NamedTuple):
  """One metric of a stage's training."""

  stage: str
  metric: str
  steps: Sequence[int]
  values: Sequence[float]


def page(
  *,
  title: str,
  words: Sequence[str],
  facts: Mapping[str, str],
  sees: Mapping[str, str],
  judge: str,
  clips: Sequence[Clip],
  tables: Sequence[Table],
  pictures: Sequence[Picture],
  curves: Sequence[Curve],
) -> str:
  """The report's text; sections without content are left out.

  Args:
    title: Of the page.
    words: Paragraphs to begin with; **strong** and `code` as in Markdown.
    facts: How it was measured: model, commit, data, hardware, minutes, seed.
    sees: What each method is given of the target.
    judge: Who reads the faces, and the score of that reader itself.
    clips: To look at and listen to.
    tables: Rows of methods; an interval, n and the undetected share show
      where they are known.
    pictures: The swap matrix and the contact sheets.
    curves: As `curves` reads them.

  Raises:
    ValueError: a row has other cells than its table has columns.
  """
  parts = [*(f"<p>{_words(text)}</p>" for text in words)]
  if clips:
    parts.append("<h2>Watch</h2>")
    parts.append(f'<div class="clips">{"".join(map(_clip, clips))}</div>')
  for table in tables:
    parts.append(f"<h2>{_text(table.title)}</h2>")
    parts.append(f"<p>{_words(table.words)}</p>" if table.words else "")
    parts.append(_table(table))
  if pictures:
    parts += ["<h2>Pictures</h2>", *map(_picture, pictures)]
  if sees:
    parts += ["<h2>What each method sees of the target</h2>", _list(sees)]
  if judge:
    parts += ["<h2>Who reads the faces</h2>", f"<p>{_words(judge)}</p>"]
  if curves:
    parts += ["<h2>Training</h2>", *_stages(curves)]
  if facts:
    parts += ["<h2>How it was measured</h2>", _list(facts)]
  body = "\n".join(part for part in parts if part)
  return fill("report", title=_text(title), body=body)


def fill(name: str, media: str = "data:", **parts: str) -> str:
  """A page of the assets with its style and script in it.

  Args:
    name: Of the three files NAME.html, NAME.css and NAME.js.
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
  text = Template((ASSETS / f"{name}.html").read_text(encoding="utf-8"))
  return text.substitute(
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


def curves(run: Path) -> list[Curve]:
  """What RUN/<stage>/metrics.jsonl holds, the stages in their order.

  A step that was trained again after a restart counts once, the last time;
  a line that breaks off, as a killed run leaves it, is passed over.
  """
  found = []
  for path in sorted(run.glob("*/metrics.jsonl"), key=_stage_order):
    rows = dict(_lines(path))
    names = dict.fromkeys(name for row in rows.values() for name in row)
    for name in names:
      steps = [step for step in sorted(rows) if name in rows[step]]
      values = [rows[step][name] for step in steps]
      found.append(Curve(path.parent.name, name, steps, values))
  return found


def _stage_order(path: Path) -> tuple[int, str]:
  name = path.parent.name
  known = name in _STAGES
  return (_STAGES.index(name) if known else len(_STAGES), name)


def _lines(path: Path) -> Iterable[tuple[int, dict[str, float]]]:
  for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
    try:
      row = json.loads(line)
      step = int(row.pop("step"))
    except (ValueError, KeyError, TypeError, AttributeError):
      continue
    yield (
      step,
      {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float)
      },
    )


def _text(text: str) -> str:
  """Escaped, and only what UTF-8 can hold: file names may be broken."""
  return escape(text.encode("utf-8", "replace").decode())


def _name(text: str) -> str:
  """A foreign name: marks for right-to-left stay within it."""
  return f"<bdi>{_text(text)}</bdi>"


def _words(text: str) -> str:
  """Escaped, then **strong** and `code`."""
  text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", _text(text))
  return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _list(facts: Mapping[str, str]) -> str:
  rows = (
    f"<dt>{_name(key)}</dt><dd>{_name(value)}</dd>"
    for key, value in facts.items()
  )
  return f"<dl>{''.join(rows)}</dl>"


def _clip(clip: Clip) -> str:
  note = f'<p class="soft">{_text(clip.note)}</p>' if clip.note else ""
  videos = "".join(
    "<figure><video muted loop autoplay playsinline controls"
    f"{' data-sound' if video.sound else ''}"
    f' aria-label="{_text(video.label)}: {_text(clip.name)}"'
    f' src="{data_uri(video.mp4, "video/mp4")}"></video>'
    f"<figcaption>{_name(video.label)}</figcaption></figure>"
    for video in clip.videos
  )
  return (
    f'<section class="clip"><h3>{_name(clip.name)}</h3>{note}'
    f'<div class="row">{videos}</div></section>'
  )


def _table(table: Table) -> str:
  counted = any(row.n is not None for row in table.rows)
  detected = any(row.undetected is not None for row in table.rows)
  heads = [_head(table.of, "")]
  heads += [_head(column.title, column.note) for column in table.columns]
  if counted:
    heads.append(_head("n", "clips"))
  if detected:
    heads.append(_head("no face", "share of frames"))
  lines = []
  for row in table.rows:
    name = f'<th scope="row" data-sort="{_text(row.name)}">{_name(row.name)}'
    name += "<small> (published)</small></th>" if row.published else "</th>"
    cells = [
      _cell(cell, column.digits)
      for cell, column in zip(row.cells, table.columns, strict=True)
    ]
    if counted:
      cells.append(_number(row.n, "" if row.n is None else str(row.n)))
    if detected:
      share = row.undetected
      cells.append(_number(share, "" if share is None else f"{share:.1%}"))
    kind = ' class="published"' if row.published else ""
    lines.append(f"<tr{kind}>{name}{''.join(cells)}</tr>")
  return (
    f'<div class="wide"><table><thead><tr>{"".join(heads)}</tr></thead>'
    f"<tbody>{''.join(lines)}</tbody></table></div>"
  )


def _head(title: str, note: str) -> str:
  below = f"<small>{_text(note)}</small>" if note else ""
  return f'<th scope="col"><span>{_text(title)}</span>{below}</th>'


def _cell(cell: Figure | str | None, digits: int) -> str:
  if isinstance(cell, str):
    return f'<td data-sort="">{_text(cell)}</td>'
  if cell is None or not math.isfinite(cell.value):
    return _number(None, "")
  shown = f"{cell.value:.{digits}f}"
  if math.isfinite(cell.low) and math.isfinite(cell.high):
    interval = f"{cell.low:.{digits}f}, {cell.high:.{digits}f}"
    shown += f" <small>[{interval}]</small>"
  return _number(cell.value, shown)


def _number(value: float | None, shown: str) -> str:
  key = "" if value is None else repr(float(value))
  return f'<td data-sort="{key}">{shown or "-"}</td>'


def _picture(picture: Picture) -> str:
  return (
    f'<figure class="picture"><div><img alt="{_text(picture.caption)}"'
    f' src="{data_uri(picture.png, "image/png")}"></div>'
    f"<figcaption>{_text(picture.caption)}</figcaption></figure>"
  )


def _stages(curves: Sequence[Curve]) -> list[str]:
  """A heading and small pictures for each stage, the health of it folded."""
  parts = []
  for stage in dict.fromkeys(curve.stage for curve in curves):
    own = [curve for curve in curves if curve.stage == stage]
    health = [curve for curve in own if _HEALTH.search(curve.metric)]
    learned = [curve for curve in own if curve not in health]
    parts.append(f"<h3>{_name(stage)}</h3>")
    parts.append(f'<div class="curves">{"".join(map(_curve, learned))}</div>')
    if health:
      parts.append(
        "<details><summary>norms of gradients, learning rates, spread of codes,"
        " waiting</summary>"
        f'<div class="curves">{"".join(map(_curve, health))}</div></details>'
      )
  return parts


def _curve(curve: Curve) -> str:
  steps = np.asarray(curve.steps, float)
  values = np.asarray(curve.values, float)
  known = np.isfinite(values)
  if not known.any():
    caption = f"{_name(curve.metric)}: no number"
    return f"<figure><figcaption>{caption}</figcaption></figure>"
  steps, values = _thin(steps[known]), _thin(values[known])
  low, high = values.min(), values.max()
  x = _scaled(steps, _LEFT, _WIDTH - 6)
  y = _scaled(values, _HEIGHT - _BOTTOM, _TOP)
  if len(x) == 1:  # a dot, where there is no line yet
    x, y = np.array([x[0] - 1, x[0] + 1]), y.repeat(2)
  path = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
  base = _HEIGHT - _BOTTOM
  marks = [f'<text x="{_LEFT - 4}" y="{base}" {_END}>{low:.2g}</text>']
  if high > low:
    marks.append(
      f'<text x="{_LEFT - 4}" y="{_TOP + 8}" {_END}>{high:.2g}</text>'
    )
  about = f"{curve.metric}, step {steps[-1]:.0f}: {values[-1]:.4g}"
  return (
    f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"'
    f' aria-label="{_text(about)}"><title>{_text(about)}</title>'
    f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH - 6}" y2="{base}"/>'
    f'<line x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{base}"/>'
    f'<path d="M{path}"/>{"".join(marks)}'
    f'<text x="{_WIDTH - 6}" y="{_HEIGHT - 4}" {_END}>{steps[-1]:.0f}</text>'
    f"</svg><figcaption>{_name(curve.metric)} {values[-1]:.3g}</figcaption>"
    "</figure>"
  )


def _thin(values: np.ndarray) -> np.ndarray:
  """At most so many points: means of neighbours."""
  groups = np.array_split(values, min(len(values), _POINTS))
  return np.array([group.mean() for group in groups])


def _scaled(values: np.ndarray, start: float, stop: float) -> np.ndarray:
  """From the least value at `start` to the largest at `stop`."""
  low, span = values.min(), np.ptp(values)
  share = (values - low) / span if span else np.full(len(values), 0.5)
  return start + share * (stop - start)
