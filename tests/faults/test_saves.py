"""A few of the kills of the full campaign; see saves.py."""

from tests.faults import saves


def test_a_kill_within_a_save_loses_nothing(tmp_path):
  report = saves.campaign(tmp_path / "checkpoints", kills=2, seed=3)
  assert report.wrong == []
  assert report.step > 0
