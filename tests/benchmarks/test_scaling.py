"""The scaling model: what its parts do at the ends, and what is counted."""

import re

import pytest

from tests.benchmarks import loader, scaling

PROGRAM = """
  %a = (f32[2,3]{1,0}, bf16[4]{0}) all-reduce(%x, %y), replica_groups={}
  %b = f32[] all-reduce-start(%z), to_apply=%sum
  %c = f32[8]{0} all-gather(%w), dimensions={0}
  %d = f32[8]{0} add(%all-reduce.1, %c)
"""


def test_collectives_are_counted_with_their_bytes():
  assert scaling.collectives(PROGRAM) == {
    "all-reduce": (2, 24 + 8 + 4),
    "all-gather": (1, 32),
  }


@pytest.mark.parametrize("link", scaling.LINKS, ids=lambda link: link.name)
def test_exchange(link):
  """Nothing alone; in a group the ring's bound; large groups cost more."""
  assert scaling.exchange(link, 1e9, 1) == 0
  ring = 2 * 7 / 8 * 1e9 / (scaling.REACHED * link.near_speed)
  assert scaling.exchange(link, 1e9, 8) == pytest.approx(ring, rel=0.02)
  assert scaling.exchange(link, 1e9, 512) > scaling.exchange(link, 1e9, 64)
  assert scaling.exchange(link, 2e9, 64) > scaling.exchange(link, 1e9, 64)


def test_pages_and_the_loader_have_the_same_steps(root):
  """What a GPU takes of the loader is by the page's table."""
  text = (root / "docs" / "scaling.md").read_text()
  rows = re.findall(r"^\| (\w+) \| (\d+) \| ([\d.]+) \| \d+ \|$", text, re.M)
  assert {
    name: pytest.approx(1e12 * float(flop) / int(batch))
    for name, batch, flop in rows
  } == loader.FLOP
  assert f"(n x {scaling.USE:g} x peak)" in text
  page = root / "docs" / "results" / "2026-11-29-loader.md"
  rows = re.findall(
    r"^\| (\w+) \| (\d+) \| .* \| ([\d.]+) \| ([\d.]+) \|$",
    page.read_text(),
    re.M,
  )
  assert len(rows) == 3
  for name, disk, one, eight in rows:
    found = loader.Result(name.lower(), float(disk), 0, 0, 0, 0)
    assert loader.cores(found, 1) == pytest.approx(float(one), abs=0.06)
    assert loader.cores(found, 8) == pytest.approx(float(eight), abs=0.6)


def test_efficiency():
  assert scaling.efficiency(3.0, 0.0) == 1
  assert scaling.efficiency(3.0, 1.0) == 0.75
