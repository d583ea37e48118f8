"""Lines of the self-driven tables: who makes the clips, from whose speech."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from speak_jax.evaluation.metric_table import MetricValue
from speak_jax.evaluation.report import metrics, tables
from speak_jax.methods.base import Entry
from speak_jax.methods.references import REFERENCES, STATIC, TRUE

Kind = Literal["own", "shuffled", "reference"]  # whose speech is heard


class Line(NamedTuple):
  """Who made the clips, hearing whose speech."""

  entry: Entry
  kind: Kind

  @property
  def title(self) -> str:
    """As tables print it."""
    titles = {
      "own": self.entry.name,
      "shuffled": f"{self.entry.name}, other speech",
      "reference": self.entry.method.name,
    }
    return titles[self.kind]


TRUE_LINE = Line(TRUE, "reference")
STATIC_LINE = Line(STATIC, "reference")


def lines(entries: Sequence[Entry]) -> list[Line]:
  """Every line of the tables, in order: models, other speech, references."""
  own = [Line(entry, "own") for entry in entries]
  shuffled = [Line(entry, "shuffled") for entry in entries]
  return [*own, *shuffled, *(Line(entry, "reference") for entry in REFERENCES)]


def metric_name(line: Line, metric: str) -> str:
  """Key of a value: NAME/psnr, NAME/psnr_shuffled, speak/static_psnr.

  How our own SyncNet does on real clips says nothing of a model, and is
  syncnet/two_way.
  """
  if line.entry is TRUE and metric == "two_way":
    return "syncnet/two_way"
  return {
    "own": f"{line.entry.name}/{metric}",
    "shuffled": f"{line.entry.name}/{metric}_shuffled",
    "reference": f"speak/{line.entry.name}_{metric}",
  }[line.kind]


def sheet_rows(entries: Sequence[Entry]) -> dict[str, str]:
  """{title of a line that the sheet shows: its short name}."""
  rows = {TRUE_LINE.title: "true", STATIC_LINE.title: "static"}
  for entry in entries:
    rows[Line(entry, "own").title] = entry.name
    rows[Line(entry, "shuffled").title] = "other speech"
  return rows


def table_rows(
  values: Mapping[str, MetricValue], entries: Sequence[Entry], data: str = ""
) -> list[tables.Row]:
  """The lines as rows of a table.

  Args:
    values: What `self_driven.measure` gives, by name.
    entries: The systems that were measured.
    data: Name of the data set, where there are several.
  """
  return [
    table_row(line, values, metrics.EVERY_ROW, data)
    for line in lines(entries)
    if metric_name(line, "psnr") in values  # else clips as short as its lag
  ]


def table_row(
  line: Line,
  values: Mapping[str, MetricValue],
  names: Iterable[str],
  data: str = "",
) -> tables.Row:
  """A line as a row of a table.

  Args:
    line: Which was measured.
    values: What `self_driven.measure` gives, by name.
    names: Metrics; those without a value are left out.
    data: Name of the data set, where there are several.
  """
  return tables.Row(
    method=line.title,
    data=data,
    source=tables.MEASURED,
    sees=line.entry.method.sees,
    clips=values[metric_name(line, "psnr")].clips,
    undetected=values[metric_name(line, "undetected")].value,
    values={
      metric: values[metric_name(line, metric)]
      for metric in names
      if metric_name(line, metric) in values
    },
  )
