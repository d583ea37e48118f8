"""The model that comes with the package does what its report says."""

import json
import re
from pathlib import Path

import pytest

from data_pipelines.ingest.run import prepare
from data_pipelines.sources import synthetic
from data_pipelines.synthetic import render
from speak_jax import bundle
from speak_jax.common import packaged
from speak_jax.evaluation import protocol

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "results" / "reference"


@pytest.fixture(scope="module")
def reported():
  return json.loads((REPORT / "metrics.json").read_text())


def test_it_is_whole_and_small():
  bundle.verify(bundle.REFERENCE)
  sizes = [
    file.stat().st_size
    for file in bundle.REFERENCE.rglob("*")
    if file.is_file()
  ]
  assert sum(sizes) <= 25e6
  assert max(sizes) <= 16 * 2**20


@pytest.mark.parametrize(
  "shipped, template",
  [
    (bundle.REFERENCE, "card.md"),
    (packaged.PHOTOGRAPH, "photograph_card.md"),
  ],
)
def test_its_card_asks_for_consent_as_new_ones_do(shipped, template):
  def consent(path):
    return path.read_text().partition("## Consent")[2]

  assert consent(shipped / "README.md") == consent(shipped.parent / template)
  assert "watermark" in consent(shipped / "README.md")
  bundle.verify(shipped)


def test_it_names_nothing_of_the_machine_that_made_it():
  found = bundle.read(bundle.REFERENCE).config
  assert found["config"]["data"]["path"] == ""
  assert found["data"][0]["source"] == "synthetic"
  assert re.fullmatch("[0-9a-f]{40}", found["commit"])


def test_two_of_its_held_out_people_score_as_the_report_says(
  reported, tmp_path
):
  data = found_data(bundle.read(bundle.REFERENCE).config["data"][0])
  tasks = synthetic.tasks(render.recipes(**data))
  prepare(tasks, tmp_path / "data", workers=0, meta={})
  plan = protocol.Plan({"speak": bundle.REFERENCE}, clips=2, seed=0)
  measured = protocol.evaluate(
    plan, str(tmp_path / "data"), tmp_path / "report"
  ).metrics
  # Two clips of twenty-four: their own spread is wider than the report's.
  for figure, least, slack in (
    ("irfd/psnr", 23.0, 4.0),
    ("speak/psnr_over_static", 2.0, 4.0),
    ("speak/mouth_box_over_shuffled", 0.5, 2.5),
    ("speak/mouth_r", 0.7, 0.2),
  ):
    assert measured[figure] > least, figure
    assert measured[figure] == pytest.approx(reported[figure], abs=slack)


def found_data(stored):
  """The recipe of its data set, with two held-out people of a clip each."""
  names = set(render.recipes.__annotations__) - {"return"}
  kept = {name: stored[name] for name in names if name in stored}
  kept |= {"identities": 0, "held_out": 2, "clips_per_identity": 1}
  kept |= {"emotions": tuple(stored["emotions"])}
  return kept | {"levels": tuple(stored["levels"])}


def test_the_readme_says_what_the_report_says(reported):
  line = next(
    x
    for x in (ROOT / "README.md").read_text().splitlines()
    if "[reference" in x
  )
  cells = [cell.strip() for cell in line.strip("|").split("|")]
  for cell, figure in zip(
    cells[3:],
    ("psnr", "ssim", "m_lmd", "sync_confidence"),
    strict=True,
  ):
    digits = len(cell.partition(".")[2])
    assert float(cell) == round(reported[f"speak/{figure}"], digits), figure
