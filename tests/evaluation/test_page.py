"""report.html, as text and as a browser shows it."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from data_pipelines.media.mp4 import write_video
from speak_jax.evaluation.metric_table import MetricValue
from speak_jax.evaluation.report import curves, markup, page, tables
from speak_jax.evaluation.report.curves import Curve
from speak_jax.evaluation.report.tables import Column, Row, Table
from tests.browser import browser

HOSTILE = '"><script>document.title="owned"</script><b>\u202e\udcff&amp;'
NAN = float("nan")


@pytest.fixture(scope="module")
def mp4(tmp_path_factory):
  path = tmp_path_factory.mktemp("clip") / "a.mp4"
  frames = np.zeros((10, 32, 32, 3), np.uint8)
  frames[:, :, 16:] = np.linspace(0, 255, 10).astype(np.uint8)[
    :, None, None, None
  ]
  sound = (3000 * np.sin(np.arange(6400) / 5)).astype(np.int16)
  write_video(path, frames, 25.0, sound)
  return path.read_bytes()


def rows():
  def row(name, psnr, other, clips=24, undetected=None, source=tables.MEASURED):
    values = {"psnr": psnr, "other": other}
    values = {k: x for k, x in values.items() if x is not None}
    return Row(name, "", source, values, "", clips, undetected)

  return [
    row(
      "model",
      MetricValue(27.8, 27.2, 28.4),
      MetricValue(9.0, NAN, NAN),
      24,
      0.01,
    ),
    row("static", MetricValue(25.3, 24.6, 26.0), None, 24, 0.0),
    row(
      "paper", MetricValue(29.4, NAN, NAN), None, None, None, tables.PUBLISHED
    ),
    row("none", None, MetricValue(10.0, 9.0, 11.0)),
  ]


def report(mp4=b"", name=HOSTILE, **changed):
  parts = {
    "title": "Evaluation",
    "introduction": ["**Small** networks, `demo` preset.", name],
    "facts": {"commit": "0123abc", "seed": "0", name: name},
    "sees": {"model": "pose and emotion frames", "static": "nothing"},
    "reader": "the judge; yaw R2 .95",
    "clips": [
      page.Clip(clip, [page.Video(x, mp4) for x in ("model", "truth")])
      for clip in ("one", name)
    ],
    "shown_tables": [
      Table(
        "Table I",
        [
          Column("psnr", "PSNR", 1, note="dB"),
          Column("other", name, 2),
          Column("nobody", "NOBODY", 2),
        ],
        rows(),
      )
    ],
    "pictures": [
      page.Picture("swaps", markup.png(np.full((9, 30, 3), 200, np.uint8)))
    ],
    "curves": [
      Curve("irfd", "gen/loss", [1, 2, 3], [3.0, 2.0, 1.0]),
      Curve("irfd", "gen/grad_norm", [1], [3.0]),
    ],
  }
  return page.page(**{**parts, **changed})


class Tags(HTMLParser):
  """Every element with its attributes."""

  def __init__(self, text):
    super().__init__()
    self.found = []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.found.append((tag, dict(attrs)))


def test_page_is_one_file_that_asks_for_nothing():
  tags = Tags(report()).found
  for _, attributes in tags:
    for name in ("src", "href", "action", "srcset", "poster", "data"):
      if name in attributes:
        assert attributes[name].startswith("data:")
  assert not {"link", "iframe", "base", "form"} & {tag for tag, _ in tags}
  policy = next(a for _, a in tags if "http-equiv" in a)["content"]
  assert policy.startswith("default-src 'none';")
  assert "http" not in policy and "*" not in policy


def test_hostile_names_stay_text():
  text = report()
  text.encode()  # a broken file name could not be
  tags = [tag for tag, _ in Tags(text).found]
  assert tags == [tag for tag, _ in Tags(report(name="plain")).found]


def test_cells_tell_interval_n_and_undetected():
  text = report()
  assert '<td data-sort="27.8">27.8 <small>[27.2, 28.4]</small></td>' in text
  assert '<td data-sort="9.0">9.00</td>' in text  # no interval
  assert "<small>clips</small>" in text and ">1.0%<" in text
  assert "(published)" in text
  assert "NOBODY" not in text  # a column that no row fills
  plain = [Row(x, "", tables.MEASURED, {}) for x in "ab"]
  bare = report(shown_tables=[Table("t", [Column("x", "x", 2)], plain)])
  assert "clips</small>" not in bare and "no face" not in bare


def test_empty_sections_are_left_out():
  text = page.page(
    title="t",
    introduction=[],
    facts={},
    sees={},
    reader="",
    clips=[],
    shown_tables=[],
    pictures=[],
    curves=[],
  )
  assert "<h2>" not in text


def test_curves_of_a_run(tmp_path):
  for stage, lines in {
    "speak": ['{"step": 1, "gen/loss": 2.0}'],
    "syncnet": [
      '{"step": 20, "a": 1.0}',
      '{"step": 40, "a": 9.0}',
      '{"step": 40, "a": 3.0, "b": NaN, "note": "x"}',
      "[]",
      '{"step": 60, "a"',
    ],
  }.items():
    (tmp_path / stage).mkdir()
    (tmp_path / stage / "metrics.jsonl").write_text("\n".join(lines))
  found = curves.read(tmp_path)
  assert [(x.stage, x.metric) for x in found] == [
    ("syncnet", "a"),
    ("syncnet", "b"),
    ("speak", "gen/loss"),
  ]
  assert (found[0].steps, found[0].values) == ([20, 40], [1.0, 3.0])
  text = report(curves=found)
  assert text.count("<path") == 2 and "no number" in text


def test_what_tells_of_health_is_folded():
  learned = ["gen/loss", "gen/pixel", "contrast/two_way"]
  health = [
    *("gen/bad", "gen/grad_norm", "gen/grad_norm/speak", "gen/std/pose"),
    *("gen/lr", "gen/lr/speak/audio/front", "gen/skipped", "gen/loss_scale"),
    *("data_wait", "data/damaged_clips", "machine/tflops"),
  ]
  text = report(
    curves=[Curve("speak", x, [1, 2], [1.0, 2.0]) for x in learned + health]
  )
  before, folded = text.split("<details><summary>norms of gradients")
  folded = folded.split("</details>")[0]
  for names, there, elsewhere in (
    (learned, before, folded),
    (health, folded, before),
  ):
    for name in names:
      assert f">{name}<" in there and f">{name}<" not in elsewhere


def test_long_and_flat_curves_stay_in_their_frame():
  steps = list(range(5000))
  text = report(
    curves=[
      Curve("a", "long", steps, [float(x % 7) for x in steps]),
      Curve("a", "flat", [1, 2], [5.0, 5.0]),
    ]
  )
  paths = re.findall(r'<path d="M([^"]+)"', text)
  assert len(paths) == 2
  for path in paths:
    points = np.array([p.split() for p in path.split("L")], float)
    assert len(points) <= 240
    assert points.min() >= 0 and points[:, 0].max() <= 200
    assert points[:, 1].max() <= 92


def test_png_is_read_back():
  from PIL import Image

  picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
  opened = Image.open(io.BytesIO(markup.png(picture)))
  np.testing.assert_array_equal(np.asarray(opened), picture)


def test_browser_shows_plays_sorts_and_sounds(mp4, tmp_path):
  path = tmp_path / "report.html"
  path.write_text(report(mp4), encoding="utf-8")
  with browser(tmp_path / "profile") as program:
    shown = program.page()
    shown.open(path)
    assert shown.run("document.title") == "Evaluation"  # no clip's script ran
    shown.wait(
      "[...document.querySelectorAll('video')].every(v => v.readyState > 1)"
    )
    shown.wait("document.querySelector('video').currentTime > 0")
    assert shown.run(
      "[...document.querySelectorAll('video')].every(v => v.muted)"
    )
    names = (
      "[...document.querySelectorAll('tbody th')].map(x => x.dataset.sort)"
    )
    head = "document.querySelectorAll('thead th button')"
    shown.run(f"{head}[1].click()")
    assert shown.run(names) == ["static", "model", "paper", "none"]
    shown.run(f"{head}[2].click()")  # 9 before 10, what has no number last
    assert shown.run(names)[:2] == ["model", "none"]
    shown.run(f"{head}[2].click()")
    assert shown.run(names)[:2] == ["none", "model"]
    sound = "document.querySelectorAll('.row button')"
    shown.run(f"{sound}[0].click()")
    shown.run(f"{sound}[1].click()")  # one at a time
    muted = "[...document.querySelectorAll('video')].map(v => v.muted)"
    assert shown.run(muted) == [True, False, True, True]
    assert shown.pdf().startswith(b"%PDF")
    assert shown.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
def test_browser_fits_a_phone_without_scripts(mp4, tmp_path, dark):
  path = tmp_path / "report.html"
  path.write_text(report(mp4), encoding="utf-8")
  with browser(tmp_path / "profile") as program:
    shown = program.page()
    shown.open(path, width=360, height=740, dark=dark, script=False)
    assert shown.run("document.documentElement.scrollWidth") <= 360
    assert shown.run("document.querySelectorAll('button').length") == 0
    assert shown.run(
      "[...document.querySelectorAll('video')].every(v => v.controls)"
    )
    colour = "getComputedStyle(document.body).backgroundColor"
    shade = sum(map(int, re.findall(r"\d+", shown.run(colour))))
    assert (shade < 200) == dark
