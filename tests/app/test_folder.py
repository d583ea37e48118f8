"""What visitors give is gone after an hour, and nothing else is."""

import os
import time

from speak_jax.app import folder


def test_old_files_go_and_new_ones_stay(tmp_path, monkeypatch):
  top = tmp_path / "page"
  for name in ("uploads/a/old.png", "uploads/b/new.png", "results/c/old.mp4"):
    path = top / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"12345")
  other = tmp_path / "other.txt"
  other.write_text("not ours")
  (top / "uploads" / "link").symlink_to(other)
  os.utime(top / "uploads/b/new.png", (0, 0))  # as pictures of old days
  assert folder.held(top) >= 15
  folder.sweep(top)
  assert len([x for x in top.rglob("*.*")]) == 3
  later = time.time() + folder.KEPT_S + 1
  monkeypatch.setattr(time, "time", lambda: later)
  (top / "results" / "c" / "now.mp4").write_bytes(b"1")
  # As if it had come just now.
  stat = os.lstat

  def lstat(self, path=None):
    found = stat(self if path is None else path)
    if str(self).endswith("now.mp4"):
      return os.stat_result([*found[:9], int(later)])
    return found

  monkeypatch.setattr(type(top), "lstat", lstat)
  folder.sweep(top)
  left = sorted(str(x.relative_to(top)) for x in top.rglob("*"))
  assert left == ["results", "results/c", "results/c/now.mp4", "uploads"]
  assert other.read_text() == "not ours"


def test_what_is_inside(tmp_path):
  (tmp_path / "in").mkdir()
  inner = tmp_path / "in" / "a.png"
  inner.write_bytes(b"1")
  (tmp_path / "b.png").write_bytes(b"1")
  (tmp_path / "in" / "link").symlink_to(tmp_path / "b.png")
  place = tmp_path / "in"
  assert folder.inside(place, str(inner))
  assert folder.inside(place, f"{place}/../in/a.png")
  for path in (f"{place}/../b.png", f"{place}/link", str(place), "", "a\0"):
    assert not folder.inside(place, path)
