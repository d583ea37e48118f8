"""The report's text and sheets."""

import json

import numpy as np

from speak_jax.evaluation import metric_table
from speak_jax.evaluation.reenactment import lines
from speak_jax.evaluation.report import markdown, sheets
from speak_jax.methods import references

ENTRY = references.STATIC._replace(name="speak")


def _found():
  """The least that every line of a report has."""
  found = {}
  for line in lines.lines([ENTRY]):
    found[lines.metric_name(line, "psnr")] = metric_table.MetricValue(
      9.5, 9.0, 10.0, 4
    )
    found[lines.metric_name(line, "undetected")] = metric_table.MetricValue(
      0.125, 0, 1, 4
    )
  return found


def test_tables_hold_what_was_measured_and_no_more():
  found = _found() | {
    "speak/psnr": metric_table.MetricValue(25.126, 24.0, 26.0, 4),
    "speak/static_psnr": metric_table.MetricValue(21.3, 20.0, 22.0, 4),
    "speak/mouth_box_psnr_shuffled": metric_table.MetricValue(
      18.25, 18.0, 18.5, 4
    ),
    "speak/psnr_over_static": metric_table.MetricValue(3.8, 3.0, 4.0, 4),
    "syncnet/two_way": metric_table.MetricValue(0.8649, 0.8, 0.9, 4),
  }
  text = markdown.markdown(
    found, {"seed": "3"}, ["Words."], {"a.png": "A."}, [ENTRY]
  )
  assert "25.13 [24.00, 26.00] | 21.30 [20.00, 22.00] | 9.50" in text
  assert "| clips | 4 | 4 | 4 | 4 |" in text
  assert "| 3.80 [3.00, 4.00] dB | 4 |" in text
  assert "12.5%" in text
  assert "cannot use pose and emotion" in text
  assert "18.25" in text
  assert "0.865" in text
  assert "![A.](a.png)" in text
  assert "IRFD" not in text
  assert "emotion read right" not in text


def test_without_a_system_there_is_no_table_of_it():
  found = {"syncnet/two_way": metric_table.MetricValue(0.5, 0.4, 0.6, 4)}
  text = markdown.markdown(found, {}, [], {}, [])
  assert "The whole system" not in text
  assert "## SyncNet" in text


def test_flat_figures_are_json_numbers():
  found = {
    "a": metric_table.MetricValue(1.0, 0.5, 1.5),
    "b": metric_table.MetricValue(2.0, float("nan"), float("nan")),
    "c": metric_table.MetricValue(float("nan"), float("nan"), float("nan")),
  }
  flat = metric_table.flat(found)
  assert flat == {"a": 1.0, "a/low": 0.5, "a/high": 1.5, "b": 2.0}
  assert json.loads(json.dumps(flat)) == flat


def test_sheet_enlarges_small_pictures_and_keeps_their_order():
  cells = np.zeros((2, 3, 64, 64, 3), np.uint8)
  cells[1, 2] = 200
  sheet = sheets.draw(cells, ["one", "two"], ["a", "b", "c"])
  top = sheet.shape[0] - 2 * 128
  left = sheet.shape[1] - 3 * 128
  assert top > 0
  assert left > 0
  assert np.all(sheet[top + 128 :, left + 256 :] == 200)
  assert np.all(sheet[top : top + 128, left:] == 0)
