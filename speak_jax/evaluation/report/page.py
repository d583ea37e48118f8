"""report.html: the whole report in one file, with videos and curves.

Nothing in the page asks the network for anything, and its content policy
forbids it. Without scripts it is whole; the script adds sorting and sound.
Every text is escaped: names of clips come from other people's disks.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from speak_jax.evaluation.disentanglement import probes
from speak_jax.evaluation.metric_table import MetricValue
from speak_jax.evaluation.reenactment.lines import lines, metric_name
from speak_jax.evaluation.report import curves as training
from speak_jax.evaluation.report import markup, metrics, tables
from speak_jax.evaluation.report.curves import Curve
from speak_jax.evaluation.report.tables import Column, Row, Table
from speak_jax.methods.base import Entry
from speak_jax.methods.references import REFERENCES

_SPREAD = (
  Column("rank", "effective rank", 1),
  Column("width", "width", 0, note="dimensions"),
  Column("variance", "variance", 3, note="mean over dimensions"),
  Column("still", "still", 2, note="share of dimensions"),
)


class Video(NamedTuple):
  """One video of a clip."""

  label: str  # the method
  mp4: bytes  # H.264, small: base64 adds a third


class Clip(NamedTuple):
  """Videos of one clip that are shown side by side."""

  name: str
  videos: Sequence[Video]


class Picture(NamedTuple):
  """A picture with what it shows."""

  caption: str
  png: bytes


def page(
  *,
  title: str,
  introduction: Sequence[str],
  facts: Mapping[str, str],
  sees: Mapping[str, str],
  reader: str,
  clips: Sequence[Clip],
  shown_tables: Sequence[Table],
  pictures: Sequence[Picture],
  curves: Sequence[Curve],
) -> str:
  """The page's text; sections without content are left out.

  Args:
    title: Title of the page.
    introduction: Paragraphs; **strong** and `code` as in Markdown.
    facts: How it was measured: model, commit, data, hardware, minutes, seed.
    sees: What each method is given of the target.
    reader: Who reads the faces, and the score of that reader itself.
    clips: To look at and listen to.
    shown_tables: Intervals, clips and undetected shares show where known.
    pictures: The swap matrix and the contact sheets.
    curves: As `curves.read` gives them.
  """
  parts = [f"<p>{markup.words(text)}</p>" for text in introduction]
  if clips:
    parts.append("<h2>Watch</h2>")
    parts.append(f'<div class="clips">{"".join(map(_clip, clips))}</div>')
  for table in shown_tables:
    notes = markup.words(" ".join(table.notes))
    parts.append(f"<h2>{markup.text(table.title)}</h2>")
    parts.append(f"<p>{notes}</p>" if notes else "")
    parts.append(_table(table))
  if pictures:
    parts += ["<h2>Pictures</h2>", *map(_picture, pictures)]
  if sees:
    parts += ["<h2>What each method sees of the target</h2>", _list(sees)]
  if reader:
    parts.append("<h2>Who reads the faces</h2>")
    parts.append(f"<p>{markup.words(reader)}</p>")
  if curves:
    parts += ["<h2>Training</h2>", *training.html(curves)]
  if facts:
    parts += ["<h2>How it was measured</h2>", _list(facts)]
  body = "\n".join(part for part in parts if part)
  return markup.fill("report", title=markup.text(title), body=body)


def sees_of(entries: Sequence[Entry]) -> dict[str, str]:
  """{method: what it sees of the target}, references too; {} without entries.

  Args:
    entries: The systems that speak.
  """
  methods = [x.method for x in (*entries, *REFERENCES)] if entries else []
  return {method.name: method.sees for method in methods}


def every_metric(
  values: Mapping[str, MetricValue], entries: Sequence[Entry]
) -> Table:
  """All metrics of every line that speaks."""
  return Table(
    "Every figure",
    [
      Column(x.name, x.title, x.digits, note=x.note)
      for x in metrics.SELF_DRIVEN
    ],
    [
      Row(
        line.title,
        "",
        tables.MEASURED,
        {
          metric.name: values[key]
          for metric in metrics.SELF_DRIVEN
          if (key := metric_name(line, metric.name)) in values
        },
      )
      for line in lines(entries)
    ],
  )


def code_tables(values: Mapping[str, MetricValue]) -> list[Table]:
  """What is read off each code, and how much of it is used."""
  targets, codes = probes.probed(values)
  built = []
  if codes:
    rows = {
      probes.SYMBOLS[code]: {
        target: values[f"probe/{target}_from_{code}"] for target in targets
      }
      for code in codes
    }
    rows["chance"] = {x: values[f"probe/{x}/chance"] for x in targets}
    built.append(
      _code_table(
        "What a line reads off each code",
        [Column(x, x, 2, note=probes.UNITS[x]) for x in targets],
        rows,
      )
    )
  spread = {
    probes.SYMBOLS[code]: {
      x.metric: values[f"code/{code}/{x.metric}"] for x in _SPREAD
    }
    for code in probes.SYMBOLS
    if f"code/{code}/rank" in values
  }
  if spread:
    built.append(_code_table("How much of each code is used", _SPREAD, spread))
  return built


def _code_table(
  title: str,
  columns: Sequence[Column],
  rows: Mapping[str, Mapping[str, MetricValue]],
) -> Table:
  measured = [Row(x, "", tables.MEASURED, row) for x, row in rows.items()]
  return Table(title, columns, measured, head="code")


def _list(facts: Mapping[str, str]) -> str:
  rows = (
    f"<dt>{markup.name(key)}</dt><dd>{markup.name(value)}</dd>"
    for key, value in facts.items()
  )
  return f"<dl>{''.join(rows)}</dl>"


def _clip(clip: Clip) -> str:
  videos = "".join(
    "<figure><video muted loop autoplay playsinline controls"
    " data-sound"
    f' aria-label="{markup.text(video.label)}: {markup.text(clip.name)}"'
    f' src="{markup.data_uri(video.mp4, "video/mp4")}"></video>'
    f"<figcaption>{markup.name(video.label)}</figcaption></figure>"
    for video in clip.videos
  )
  return (
    f'<section class="clip"><h3>{markup.name(clip.name)}</h3>'
    f'<div class="row">{videos}</div></section>'
  )


def _table(table: Table) -> str:
  columns = table.filled(table.rows)
  counted = any(row.clips is not None for row in table.rows)
  detected = any(row.undetected is not None for row in table.rows)
  heads = [_head(table.head, "")]
  heads += [_head(column.title, column.note) for column in columns]
  if counted:
    heads.append(_head("n", "clips"))
  if detected:
    heads.append(_head("no face", "share of frames"))
  lines = []
  for row in table.rows:
    published = row.source == tables.PUBLISHED
    name = f'<th scope="row" data-sort="{markup.text(row.method)}">'
    name += markup.name(row.method)
    name += "<small> (published)</small></th>" if published else "</th>"
    cells = [_cell(row.values.get(x.metric), x.digits) for x in columns]
    if counted:
      cells.append(_number(row.clips, f"{row.clips}"))
    if detected:
      share = row.undetected
      cells.append(_number(share, "" if share is None else f"{share:.1%}"))
    kind = ' class="published"' if published else ""
    lines.append(f"<tr{kind}>{name}{''.join(cells)}</tr>")
  return (
    f'<div class="wide"><table><thead><tr>{"".join(heads)}</tr></thead>'
    f"<tbody>{''.join(lines)}</tbody></table></div>"
  )


def _head(title: str, note: str) -> str:
  below = f"<small>{markup.text(note)}</small>" if note else ""
  return f'<th scope="col"><span>{markup.text(title)}</span>{below}</th>'


def _cell(value: MetricValue | None, digits: int) -> str:
  if value is None or not math.isfinite(value.value):
    return _number(None, "")
  shown = f"{value.value:.{digits}f}"
  if math.isfinite(value.low) and math.isfinite(value.high):
    interval = f"{value.low:.{digits}f}, {value.high:.{digits}f}"
    shown += f" <small>[{interval}]</small>"
  return _number(value.value, shown)


def _number(value: float | None, shown: str) -> str:
  """A cell that sorts by its number; "-" where there is none."""
  if value is None:
    return '<td data-sort="">-</td>'
  return f'<td data-sort="{float(value)!r}">{shown}</td>'


def _picture(picture: Picture) -> str:
  caption = markup.text(picture.caption)
  return (
    f'<figure class="picture"><div><img alt="{caption}"'
    f' src="{markup.data_uri(picture.png, "image/png")}"></div>'
    f"<figcaption>{caption}</figcaption></figure>"
  )
