"""The notebook's cells run, one after the other, as a person would."""

import ast
import json
from pathlib import Path

import numpy as np
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "examples" / "photograph.ipynb"


def run(source: str, names: dict) -> None:
  """Runs a cell; a picture that it ends with is shown."""
  *most, last = ast.parse(source).body
  exec("\n".join(map(ast.unparse, most)), names)
  if not isinstance(last, ast.Expr):
    exec(ast.unparse(last), names)
    return
  shown = eval(ast.unparse(last), names)
  if isinstance(shown, Image.Image):
    shown.load()


def test_every_cell_runs(tmp_path, monkeypatch, face_models):
  """With no output kept in it, and nothing but what it makes itself."""
  del face_models  # they are there
  monkeypatch.chdir(tmp_path)
  made = json.loads(NOTEBOOK.read_text())
  cells = [x for x in made["cells"] if x["cell_type"] == "code"]
  assert all(not x["outputs"] and x["execution_count"] is None for x in cells)
  names: dict = {}
  for cell in cells:
    run("".join(cell["source"]), names)
  assert {x.name for x in tmp_path.iterdir()} == {"talks.mp4", "talks.png"}
  still, turned = (np.asarray(x, int) for x in names["shown"][:2])
  assert np.abs(turned - still).mean() > 2
  assert len(names["short"]) == 39
  with Image.open("talks.png") as sheet:
    assert sheet.width > 300
