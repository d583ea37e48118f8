"""Rows in, text out: made-up rows, four formats."""

import csv
import io
import json
import re

import numpy as np
import pytest

from speak_jax.evaluation.metric_table import MetricValue, exact
from speak_jax.evaluation.report import metrics, published, tables
from speak_jax.evaluation.report.tables import Column, Row, Table

COLUMNS = (
  Column("ssim", "SSIM", 3),
  Column("psnr", "PSNR", 2),
  Column("nobody", "NOBODY", 2),
)


def _row(method, data, value, **rest):
  figures = {"ssim": MetricValue(value, value - 0.1, value + 0.1, 7)}
  figures["psnr"] = exact(float("nan"))
  return Row(
    method, data, tables.MEASURED, figures, "first_frame", 7, 0.25, **rest
  )


ROWS = [
  _row("ours_100%", "MEAD", 0.5),
  _row("ours_100%", "toy", 0.625, marks={"ssim": "same sign"}),
  _row("a|b", "toy", 0.75),
  Row("SPEAK", "MEAD", tables.PUBLISHED, {"ssim": exact(0.84)}),
  Row("SPEAK", "HDTF", tables.PUBLISHED, {"ssim": exact(0.83)}),
]
TABLE = Table("T & co", COLUMNS, ROWS, ["50 % of_it."])


def test_markdown_puts_data_sets_side_by_side():
  lines = tables.markdown(TABLE).splitlines()
  assert lines[0] == "## T & co"
  grid = [x for x in lines if x.startswith("|")]
  assert grid[0] == (
    "| method | MEAD: SSIM | MEAD: PSNR | MEAD: clips | MEAD: undetected | toy:"
    " SSIM | toy: PSNR | toy: clips | toy: undetected | sees of the target |"
  )
  assert grid[2] == (
    "| ours_100% | 0.500 [0.400, 0.600] | - | 7 | 25.0% |"
    " 0.625 [0.525, 0.725] (same sign) | - | 7 | 25.0% | first_frame |"
  )
  assert grid[3].startswith("| a\\|b | - | - | - | - | 0.750 [0.650, 0.850] |")
  # Published stands beside ours where the data set is the same ...
  assert grid[4].startswith("| SPEAK (published) | 0.84 | - | - | - | - |")
  # ... and by itself where it is not.
  assert grid[5:] == [
    "| method | HDTF: SSIM |",
    "|---|---|",
    "| SPEAK (published) | 0.83 |",
  ]
  assert "NOBODY" not in tables.markdown(TABLE)
  cells = {len(re.split(r"(?<!\\)\|", x)) for x in grid[:5]}
  assert len(cells) == 1


def test_latex_is_escaped_and_square():
  text = tables.latex(TABLE)
  assert text.startswith("% T & co\n")
  assert "ours\\_100\\% & 0.500 {[}0.400, 0.600{]}" in text
  assert "\\footnotesize 50 \\% of\\_it." in text
  for found in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.S):
    sides = re.search(r"\{tabular\}\{([lr]+)\}", found)
    assert sides
    for line in found.splitlines():
      if line.endswith("\\\\"):
        assert len(re.split(r"(?<!\\)&", line)) == len(sides[1])
  assert text.count("\\begin{tabular}") == text.count("\\bottomrule") == 2


@pytest.mark.parametrize(
  ("plain", "safe"),
  [
    ("a_b", "a\\_b"),
    ("50% & #1 $x$", "50\\% \\& \\#1 \\$x\\$"),
    ("{~^}", "\\{\\textasciitilde{}\\textasciicircum{}\\}"),
    ("\\input{x}", "\\textbackslash{}input\\{x\\}"),
    ("[1]<2>", "{[}1{]}\\textless{}2\\textgreater{}"),
  ],
)
def test_escaping(plain, safe):
  assert tables.escaped(plain) == safe


def test_csv_and_json_hold_the_same_rows():
  lines = list(csv.DictReader(io.StringIO(tables.comma_separated(TABLE))))
  stored = json.loads(tables.as_json(TABLE))
  assert stored["notes"] == ["50 % of_it."]
  assert [x["method"] for x in lines] == [row.method for row in ROWS]
  for line, row in zip(lines, stored["rows"], strict=True):
    assert set(line) == set(row)
    for key, value in row.items():
      assert line[key] == ("" if value is None else str(value))
  assert stored["rows"][0]["psnr"] is None
  assert stored["rows"][1]["ssim_high"] == 0.725
  assert stored["rows"][1]["ssim_mark"] == "same sign"
  assert stored["rows"][3]["source"] == "published"


def test_signs_are_compared_only_where_they_are_known():
  agree = tables.agreement
  assert agree(MetricValue(-1, -2, -0.5), -3.0) == "same sign"
  assert agree(MetricValue(1, 0.5, 2), -3.0) == "opposite"
  assert agree(MetricValue(-1, -2, 0.5), -3.0) == "unclear"
  assert agree(MetricValue(-1, -2, -0.5), 0.0) == "unclear"
  assert agree(exact(-1), -3.0) == "unclear"


def test_changes_are_two_rows_with_signs():
  found = {
    "psnr": MetricValue(-1.5, -2, -1, 9),
    "ssim": MetricValue(0.1, 0.05, 0.2, 9),
  }
  moved = published.change(published.ENCODERS, "no_pose")
  assert moved["psnr"] == pytest.approx(24.77 - 29.41)
  ours, theirs = tables.changes("no_pose", "toy", found, moved)
  assert ours.marks == {"psnr": "same sign", "ssim": "opposite"}
  assert ours.clips == 9
  assert theirs.source == tables.PUBLISHED
  signed = [x._replace(signed=True) for x in COLUMNS]
  text = tables.markdown(Table("x", signed, [ours, theirs]))
  assert "-1.50 [-2.00, -1.00] (same sign)" in text
  assert "+0.100 [+0.050, +0.200] (opposite)" in text
  assert "-4.64" in text
  assert published.change(published.ENCODERS, "mine") == {}
  assert len(tables.changes("mine", "toy", found, {})) == 1


def test_published_rows_are_the_papers():
  rows = {(row.method, row.data): row for row in published.table_1()}
  best = rows["SPEAK, v3", "HDTF"].values
  assert best["sync_c"].value == 5.76
  assert best["ssim"].value == 0.83
  assert "psnr" not in rows["ground truth, v1", "MEAD"].values
  assert all(row.source == tables.PUBLISHED for row in rows.values())
  assert all(
    np.isnan(x.low) for row in rows.values() for x in row.values.values()
  )
  # Every ablation made the paper's full system worse in SSIM and PSNR.
  for ablation in (published.ENCODERS, published.LOSSES):
    for name in ablation.rows:
      if name != published.FULL:
        moved = published.change(ablation, name)
        assert moved["ssim"] < 0
        assert moved["psnr"] < 0


def test_every_metric_is_listed_once():
  listed = (*metrics.SELF_DRIVEN, *metrics.GAINS, *metrics.IRFD)
  names = [metric.name for metric in listed]
  assert len(set(names)) == len(names)
  assert set(metrics.EVERY_ROW) <= {x.name for x in metrics.SELF_DRIVEN}
  (column,) = metrics.columns(["aligned_psnr"], "speak/")
  assert column == Column("speak/aligned_psnr", "PSNR, aligned 128 (ours)", 2)
  assert len({x.title for x in metrics.columns(metrics.EVERY_ROW)}) == 16
  with pytest.raises(KeyError):
    metrics.columns(["psrn"])
