"""The table of an ablation: each row's values, changes and expected signs."""

from collections.abc import Mapping, Sequence

import numpy as np

from speak_jax.configs.ablations import FULL, Row
from speak_jax.evaluation.metric_table import MetricValue, MetricValues
from speak_jax.evaluation.report import published, tables
from speak_jax.evaluation.report.metrics import ABLATION as COLUMNS
from speak_jax.evaluation.report.paper_tables import ABLATIONS
from speak_jax.methods import references
from speak_jax.tools.ablate.plan import ROWS, describe, why_left_out

Metrics = Mapping[str, float | str]  # a metrics.json

# What is published under another name than ours.
_OURS = {"sync_c": "sync_confidence"}
AGREES, DIFFERS, NOISE = "agrees", "does not", "within noise"


def ablation_table(
  measured: Mapping[str, Metrics],
  failed: Mapping[str, str] = {},
  budget: str = "",
  left_out: Sequence[str] = (),
) -> tables.Table:
  """Rows with their change against `full`, and whether that was expected.

  Args:
    measured: By row, what evaluate's metrics.json says; `full` among them.
    failed: By row, why there are no figures.
    budget: What all rows share, in words.
    left_out: Rows that change nothing of the config.
  """
  whole = measured[published.FULL]
  full = _values(whole, FULL.stages)
  lines = []
  for name, metrics in measured.items():
    values = _values(metrics, ROWS[name].stages)
    marks = {} if name == published.FULL else _marks(name, values, full)
    lines.append(tables.Row(name, "", tables.MEASURED, values, marks=marks))
  for entry in (references.STATIC, references.TRUE):
    values = _values(whole, ("speak",), f"{entry.name}_")
    lines.append(tables.Row(entry.method.name, "", tables.MEASURED, values))
  notes = [
    f"Every row has the same budget, data and seed: {budget}. Stages that a row"
    " does not train anew are those of full, and IRFD's figures then too: they"
    " are left out.",
    "In square brackets: 95 % bootstrap interval over clips. In round brackets:"
    f" the change against full, and whether it has the expected sign; {NOISE}"
    " where the two intervals overlap. They are not paired, so this hides small"
    " changes that are there. 100 dB stands for equal frames.",
    "Signs expected of rows 3/ and losses/ are the paper's, of table III (v3)"
    " and of the losses left out (v1), on MEAD; its Sync is the public"
    " network's, ours our own's.",
    f"{whole.get('meta/data', 'data unknown')};"
    f" {whole.get('meta/hardware', 'hardware unknown')}; read by"
    f" {whole.get('meta/reader', 'an unknown reader')}.",
    *(_about(name, ROWS[name]) for name in measured),
    *(f"{name}: no figures, {why}" for name, why in failed.items()),
    *(f"{name}: {why_left_out(ROWS[name])}." for name in left_out),
  ]
  return tables.Table("Ablations at equal steps", COLUMNS, lines, notes)


def expected(name: str) -> dict[str, int]:
  """{figure: the sign of its change} that somebody expects of a row."""
  group, _, short = name.partition("/")
  ablation = ABLATIONS.get(group)
  changes = published.change(ablation, short) if ablation else {}
  signs = {
    f"speak/{_OURS.get(metric, metric)}": int(np.sign(change))
    for metric, change in changes.items()
    if change
  }
  return signs | dict(ROWS[name].expects)


def verdict(row: MetricValue, full: MetricValue, sign: int) -> str:
  """Whether a change has a sign; "" where none is expected (0)."""
  if not (row.low > full.high or row.high < full.low):
    return NOISE
  if not sign:
    return ""
  return AGREES if (row.value - full.value) * sign > 0 else DIFFERS


def _marks(
  name: str, values: MetricValues, full: MetricValues
) -> dict[str, str]:
  """-0.42, - expected: agrees."""
  signs, marks = expected(name), {}
  for column in COLUMNS:
    metric, sign = column.metric, signs.get(column.metric, 0)
    if metric in values and metric in full:
      row, whole = values[metric], full[metric]
      said = verdict(row, whole, sign)
      if sign:
        said = f"{'+' if sign > 0 else '-'} expected: {said}"
      change = f"{row.value - whole.value:+.{column.digits}f}"
      marks[metric] = ", ".join(filter(None, (change, said)))
  return marks


def _values(
  metrics: Metrics, stages: Sequence[str], reference: str = ""
) -> MetricValues:
  """Values of some stages; `reference` is how a reference's names begin."""
  values = {}
  for column in COLUMNS:
    stage, name = column.metric.split("/")
    key = f"{stage}/{reference}{name}"
    if stage in stages and key in metrics:
      value, low, high = (
        float(metrics.get(x, np.nan))
        for x in (key, f"{key}/low", f"{key}/high")
      )
      values[column.metric] = MetricValue(value, low, high)
  return values


def _about(name: str, row: Row) -> str:
  """What a row asks, in a line."""
  parts = [row.asks, f"trains {', '.join(row.stages)}", describe(row)]
  if row.source:
    parts.append(f"signs: {row.source}")
  return f"{name}: {'; '.join(filter(None, parts))}."
