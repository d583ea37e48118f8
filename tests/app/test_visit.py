"""A person's whole visit in a browser, bad uploads included."""

import importlib.util
import time

import pytest

from data_pipelines.faces.tracker import Tracker
from data_pipelines.media import video
from speak_jax.common import packaged

if importlib.util.find_spec("gradio") is None:
  pytest.skip("no Gradio here", allow_module_level=True)

from speak_jax.inference.model import load
from tests.app.pages import served
from tests.browser import browser

# Of Gradio's own code and what it needs.
pytestmark = pytest.mark.filterwarnings("ignore")


def text(name):
  return f"(document.getElementById('{name}') || {{innerText: ''}}).innerText"


def press(name):
  return f"document.getElementById('{name}').click()"


def ready(page, name):
  page.wait(f"document.getElementById('{name}') !== null")
  page.wait(f"!document.getElementById('{name}').disabled")


def source(name):
  """The address of the video that a player has."""
  return f"(document.querySelector('#{name} video') || {{}}).currentSrc"


def test_a_whole_visit(tmp_path, face_models):
  note = tmp_path / "note.png"
  note.write_text("This is no picture.")
  turns = tmp_path / "turns.csv"
  turns.write_text("0,10,0,0\n1,ten,0,0\n")
  with (
    browser(tmp_path / "profile") as chromium,
    served(tmp_path / "page", load(tracker=Tracker())) as place,
  ):
    chromium.downloads(tmp_path)
    page, home = chromium.page(), f"{place.url}/"
    page.open(home)
    ready(page, "make-one")
    # Nothing given.
    page.run(press("make-one"))
    page.wait(text("said-identity-one") + ".includes('give a picture')")
    page.wait(text("said-audio-one") + ".includes('give a voice')")
    # A file that is no picture.
    page.give("#identity-one input[type=file]", note)
    page.give("#audio-one input[type=file]", packaged.SENTENCE)
    page.wait("document.querySelector('#identity-one img') !== null")
    page.wait("document.querySelector('#audio-one').innerText.includes('0:03')")
    ready(page, "make-one")
    page.run(press("make-one"))
    page.wait(text("said-identity-one") + ".includes('note.png: cannot be')")
    page.wait(text("status-one") + ".includes('nothing was made')")
    # A table that is none.
    page.run(
      "[...document.querySelectorAll('button')].find("
      "x => x.innerText.includes(`Head's motion`)).click()"
    )
    table = "#pose-table-one input[type=file]"
    page.wait(f"document.querySelector('{table}') !== null")
    page.give(table, turns)
    page.wait(text("pose-table-one") + ".includes('turns')")
    ready(page, "make-one")
    page.run(press("make-one"))
    page.wait(text("said-pose-one") + ".includes('turns.csv: row 2')")
    # The example in one click, which is cancelled.
    ready(page, "make-one")
    page.run(press("example-happy"))
    page.wait("document.querySelector('#status-one progress') !== null")
    ready(page, "cancel-one")
    page.run(press("cancel-one"))
    page.wait(text("status-one") + ".includes('cancelled')")
    # And once more, on a phone, to the end.
    page.open(home, 390, 844)
    ready(page, "example")
    page.run(press("example"))
    page.wait(text("status-one") + ".includes('frames/s')")
    page.wait(text("status-one") + ".includes('done: 77 frames')")
    page.wait(source("video"))
    assert page.run("document.documentElement.scrollWidth") <= 390
    ready(page, "download")
    page.run(press("download"))
    end = time.monotonic() + 20
    while not (found := list(tmp_path.glob("*.mp4"))):
      assert time.monotonic() < end
      time.sleep(0.05)
    assert video.probe(found[0]).frames == 77
    complaints = page.complaints(home)
  assert not [x for x in complaints if "asked for" in x]
  assert not complaints
