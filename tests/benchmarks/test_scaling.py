"""The scaling model: what its parts do at the ends, and what is counted."""

import pytest

from tests.benchmarks import scaling

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


def test_efficiency():
  assert scaling.efficiency(3.0, 0.0) == 1
  assert scaling.efficiency(3.0, 1.0) == 0.75
