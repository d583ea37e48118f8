"""No default of a config is hidden in code: a key that is read must be there.

configs/speak.py has every default. `config.get(key, default)` and the like go
on with another value where a key is misspelt, or its preset has none.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Words of what is, or may be, a config or a part of one.
CONFIGS = {"config", "settings", "options", "model", "optim"}
# Who may, and why: what is read there is no config of ours, or an old one.
ALLOWED = {
  # A JSON file of which nothing is known yet: it may be no bundle.
  ("speak_jax/bundle.py", "config.get('format')"),
  # Bundles of before they said which JAX had written them.
  ("speak_jax/bundle.py", "self.config.get('jax')"),
  # Bundles of before they held their run's config.
  ("speak_jax/training/weights.py", "content.config.get('config', {})"),
  # Bundles of before they had the code of a neutral face.
  ("speak_jax/inference/synthesizer.py", "bundle.config.get('neutral')"),
  # Bundles of tests, which no commit has made.
  ("speak_jax/provenance/marking.py", "content.config.get('commit')"),
  # A checkpoint's groups, of which some have no collections.
  ("speak_jax/training/checkpoints.py", "model['vars'].get(g, {})"),
  # Files of others: fairseq's and transformers' configs.
  ("speak_jax/pretrained/goldens.py", "config.get('cfg')"),
  ("speak_jax/pretrained/speech.py", "config.get('do_stable_layer_norm')"),
  ("speak_jax/pretrained/speech.py", "config.get('conv_stride')"),
  ("speak_jax/pretrained/speech.py", "config.get('num_attention_heads')"),
}


def hidden(text: str) -> Iterator[str]:
  """Calls that read a part of a config, or something else if it is not there.

  Args:
    text: Of a module.
  """
  for node in ast.walk(ast.parse(text)):
    if not isinstance(node, ast.Call):
      continue
    name, given = node.func, len(node.args) + len(node.keywords)
    if isinstance(name, ast.Attribute):
      method, source = name.attr, name.value
      soft = method in ("get", "setdefault") or (method == "pop" and given > 1)
    elif isinstance(name, ast.Name) and node.args:
      method, source = name.id, node.args[0]
      soft = method == "hasattr" or (method == "getattr" and given > 2)
    else:
      continue
    words = {
      word
      for part in ast.walk(source)
      for full in [getattr(part, "id", getattr(part, "attr", ""))]
      for word in full.split("_")
    }
    if soft and words & CONFIGS:
      yield ast.unparse(node)


def test_no_default_is_hidden():
  found = {
    (path.relative_to(ROOT).as_posix(), call)
    for package in ("speak_jax", "data_pipelines", "configs", "launch")
    for path in (ROOT / package).rglob("*.py")
    for call in hidden(path.read_text())
  }
  assert found == ALLOWED


@pytest.mark.parametrize(
  ("text", "count"),
  [
    ("config.train.get('keep', 2)", 1),
    ("self._config.irfd.get('r1')", 1),
    ("getattr(settings.optim, 'lr', 0.1)", 1),
    ("config['model'].setdefault('maps', ())", 1),
    ("options.pop('workers', 2)", 1),
    ("hasattr(config, 'mesh')", 1),
    ("config.train.keep + options.pop('workers')", 0),
    ("found.get('x') or getattr(limits, kind)", 0),
  ],
)
def test_the_scan_finds_what_it_looks_for(text, count):
  assert len(list(hidden(text))) == count
