"""The model card of a bundle: README.md, out of assets/card.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speak_jax.inference.functions import Settings

_TEMPLATE = Path(__file__).parents[1] / "assets" / "card.md"
_SYNTHETIC = """\
Rendered faces and synthesised speech alone: no picture and no voice of a real
person. Results on photographs show that the pipeline runs, not what the method
can do."""
_RECORDED = """\
Recordings of people, in the data sets above. Their licences and the consent
given there bind this model too; read them before you ship it."""


def text(
  name: str,
  settings: Settings,
  facts: Mapping[str, Any],
  count: int,
  dtype: str,
) -> str:
  """Writes the card.

  Args:
    name: Of the bundle's folder.
    settings: Size and rate of the frames.
    facts: Preset, commit, seed, data sets and steps of the run; "start" has
      those of the run or bundle that it went on from.
    count: Numbers in the weights.
    dtype: What the functions compute in.

  Returns:
    Markdown.
  """
  models = [facts]  # that went on from each other, newest first
  while start := models[-1].get("start"):
    models.append(start)
  data = [x for model in models for x in model["data"]]
  steps = [_steps(facts)]
  steps += [f"{_steps(x)} (`{x['commit']}`)" for x in models[1:]]
  return _TEMPLATE.read_text(encoding="utf-8").format(
    name=name,
    folder=name,
    image=settings.image,
    fps=settings.fps,
    count=count,
    dtype=dtype,
    preset=facts["preset"],
    commit=facts["commit"] or "unknown",
    seed=facts["seed"],
    data=_learned_from(data),
    steps="; before that ".join(steps),
    training=_SYNTHETIC if _synthetic(data) else _RECORDED,
  )


def _learned_from(data: list[dict[str, Any]]) -> str:
  """Names the data sets."""
  return "; ".join(
    f"{x['identities']} synthetic people, {x['framing']} framing, seed"
    f" {x['seed']}"
    if _synthetic([x])
    else f"`{x['name']}`"
    for x in data
  )


def _steps(facts: Mapping[str, Any]) -> str:
  return ", ".join(f"{k} {v}" for k, v in facts["steps"].items()) or "unknown"


def _synthetic(data: list[dict[str, Any]]) -> bool:
  return all(x.get("source") == "synthetic" for x in data)
