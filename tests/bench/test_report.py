"""Runs of subjects, their table and JSON, and the line of agreement."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from speak_jax.bench import report, subjects
from speak_jax.bench.figure import Figure, skipped
from speak_jax.bench.plan import QUICK, Plan
from speak_jax.bench.report import Report
from speak_jax.common.files import FileError

MACHINE = {
  "speak_jax": "0.1.0",
  "commit": "0123456789",
  "python": "3.11.9",
  "jax": "0.10.2",
  "jaxlib": "0.10.2",
  "cpu": "A processor",
  "cores": 2,
  "memory_gib": 24.0,
  "system": "Linux x86_64",
  "devices": "1 x cpu",
}
MOMENT = {"load": 0.5, "products_per_s": 1000.0}


def made(figures: dict[str, list[Figure]], failed=()) -> Report:
  return Report(MACHINE, MOMENT, MOMENT, Plan(), figures, failed)


STEADY = made({"photograph": [Figure("a", "frames/s", (99.0, 100.0, 101.0))]})
SHAKY = made({"photograph": [Figure("a", "frames/s", (100.0, 100.0, 80.0))]})


def test_subjects_take_turns_and_one_that_fails_stops_no_other():
  calls = []

  def measure(name: str, plan: Plan) -> Iterator[Figure]:
    calls.append(name)
    yield Figure("a", "s", (float(len(calls)),))
    if name == "bad" and len(calls) > 2:
      raise subjects.FailedError("bad: why")
    yield Figure("b", "s", (7.0,))

  lines = []
  found, failed = report.measured(
    ["good", "bad"], QUICK, 2, measure, lines.append
  )
  assert calls == ["good", "bad"] * 2
  assert found["good"] == [
    Figure("a", "s", (1.0, 3.0)),
    Figure("b", "s", (7.0, 7.0)),
  ]
  assert found["bad"] == [
    Figure("a", "s", (2.0, 4.0)),
    Figure("b", "s", (7.0,)),
  ]
  assert failed == ["run 2, bad: why"]
  assert lines[0] == "run 1 of 2  good: a: 1 s"


def test_table_is_markdown_in_columns():
  text = report.table(
    made(
      {
        "photograph": [Figure("files to file", "frames/s", (90.0, 110.0), "n")],
        "marking": [Figure("found", "of 4 clips", (4.0,)), skipped("x", "why")],
      }
    )
  )
  head, rule, *rows = text.splitlines()
  assert len({len(line) for line in (head, rule, *rows)}) == 1
  assert [[x.strip() for x in row.split("|")[1:-1]] for row in rows] == [
    ["photograph", "files to file", "100", "frames/s", "20 %", "n"],
    ["marking", "found", "4", "of 4 clips", "", ""],
    ["marking", "x", "-", "", "", "skipped: why"],
  ]
  only = report.table(STEADY, [("photograph", "a"), ("photograph", "gone")])
  assert only.splitlines()[2:] == [
    "| photograph | a      |    100 | frames/s |    2 % |"
  ]


@pytest.mark.parametrize(
  ("value", "text"),
  [
    (0.0, "0"),
    (4.2e-8, "4.2e-08"),
    (0.41, "0.41"),
    (1.32, "1.32"),
    (2.0, "2"),
    (43.14, "43.1"),
    (107.4, "107"),
    (100.0, "100"),
    (-3.5, "-3.5"),
    (3.1e7, "3.1e+07"),
  ],
)
def test_numbers(value, text):
  assert report.number(value) == text


def test_halves_of_the_runs_agree_or_are_said_not_to():
  assert report.own_agreement(STEADY) == [
    "the first half of the runs and the second agree within 5 %"
  ]
  assert report.own_agreement(SHAKY) == [
    "the first half of the runs and the second DO NOT AGREE within 5 %:",
    "  photograph, a: 100 and 80 frames/s, 22 % apart",
  ]
  (line,) = report.own_agreement(made({"x": [Figure("a", "s", (1.0,))]}))
  assert line.startswith("one run")


def test_earlier_runs_agree_or_are_said_not_to():
  assert report.other_agreement(STEADY, SHAKY, "b.json") == [
    "b.json and these runs agree within 5 %"
  ]
  slow = made({"photograph": [Figure("a", "frames/s", (50.0,))]})
  slow = slow._replace(plan=QUICK, machine={**MACHINE, "cpu": "Another"})
  lines = report.other_agreement(slow, STEADY, "b.json")
  assert lines[0] == "b.json was made with another cpu: Another"
  assert lines[1].startswith("b.json was made with other amounts: Plan(")
  assert "DO NOT AGREE" in lines[2] and "67 % apart" in lines[3]
  other = made({"start": [Figure("a", "s", (1.0,))]})
  assert report.other_agreement(other, STEADY, "b.json") == [
    "b.json has none of these figures"
  ]


def test_json_holds_all_and_is_read_again(tmp_path):
  full = made(
    {"photograph": [*SHAKY.figures["photograph"], skipped("x", "why")]},
    ["run 1, x: y"],
  )
  path = tmp_path / "b.json"
  path.write_text(report.to_json(full))
  assert report.read(path) == full
  stored = json.loads(path.read_text())
  assert stored["figures"]["photograph"][0]["median"] == 100
  assert stored["figures"]["photograph"][1]["median"] is None
  assert [x["name"] for x in stored["disagree"]] == ["a"]


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    (None, "No such file or directory"),
    ("{", "is no JSON of speak bench"),
    ("[]", "is no JSON of speak bench"),
    ('{"format": 1}', "is no JSON of speak bench"),
    ('{"format": 9}', "format 9, not 1"),
  ],
)
def test_other_files_are_refused_in_a_line(tmp_path, text, reason):
  path = tmp_path / "b.json"
  if text is not None:
    path.write_text(text)
  with pytest.raises(FileError) as raised:
    report.read(Path(path))
  assert str(raised.value) == f"{path}: {reason}"


def test_what_figures_hang_on_is_said():
  text = report.head(STEADY)
  for part in ("0.1.0 (0123456)", "3.11.9", "0.10.2", "A processor", "2 cores"):
    assert part in text
