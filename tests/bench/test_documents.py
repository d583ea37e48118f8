"""What pages say of speed is what the command has printed."""

import re

import pytest

from speak_jax.bench import report
from speak_jax.bench.subjects import SUBJECTS
from tests.bench import record

SPEED = re.compile(
  r"\d[\d.,]*\s+(?:frames a second|frames/s|fps|samples/s|ms|milliseconds|"
  r"seconds|minutes|times real time)\b"
)


@pytest.fixture(scope="module")
def kept() -> report.Report:
  return report.read(record.ROOT / record.RECORD)


def test_readmes_table_is_what_the_command_prints_in_short(kept):
  """Every row that was measured; `tests.bench.record` writes both pages."""
  text = record.between((record.ROOT / "README.md").read_text())
  assert text == record.short(kept)
  rows = [one for one in report.SUMMARY if one[0] in kept.figures]
  assert len(report.table(kept, report.SUMMARY).splitlines()) == 2 + len(rows)


def test_the_reports_table_is_all_that_was_measured(kept):
  page = (record.ROOT / record.RECORD).with_suffix(".md")
  assert record.between(page.read_text()) == record.full(kept)
  assert set(kept.figures) <= set(SUBJECTS) and not kept.failed


def test_a_page_is_filled_between_its_marks_alone():
  text = f"a. b\n{record.BEGIN}.{record.END}\nc."
  new = record.filled(text, "d")
  assert new == f"a. b\n{record.BEGIN}d{record.END}\nc."
  assert (record.between(text), record.between(new)) == (".", "d")


def test_it_was_measured_from_a_commit(kept):
  assert re.fullmatch("[0-9a-f]{40}", kept.machine["commit"])


def test_readme_quotes_no_other_speed():
  text = (record.ROOT / "README.md").read_text()
  assert SPEED.findall(record.filled(text, "")) == []
  assert SPEED.findall("some 107 frames a second, 14\nminutes") == [
    "107 frames a second",
    "14\nminutes",
  ]
