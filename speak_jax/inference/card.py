"""The model card of a bundle: README.md, out of assets/card.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speak_jax.inference.settings import Settings

_TEMPLATE = Path(__file__).parents[1] / "assets" / "card.md"
_PHOTOGRAPHS = _TEMPLATE.with_name("photograph_card.md")
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
    facts: Preset, commit, seed, data sets, steps and attribution of the run;
      "start" has those of the run or bundle that it went on from.
    count: Numbers in the weights.
    dtype: What the functions compute in.

  Returns:
    Markdown.
  """
  values = _values(name, facts, count, dtype)
  template = _TEMPLATE.read_text(encoding="utf-8")
  return template.format(**values, image=settings.image, fps=settings.fps)


def of_photographs(
  name: str, fps: float, facts: Mapping[str, Any], count: int, dtype: str
) -> str:
  """Writes the card of a bundle that moves photographs; arguments as `text`."""
  template = _PHOTOGRAPHS.read_text(encoding="utf-8")
  return template.format(**_values(name, facts, count, dtype), fps=fps)


def _values(
  name: str, facts: Mapping[str, Any], count: int, dtype: str
) -> dict[str, Any]:
  """Collects what both cards say; arguments as for `text`."""
  models = [facts]  # that went on from each other, newest first
  while start := models[-1].get("start"):
    models.append(start)
  data = [x for model in models for x in model["data"]]
  attributions = dict.fromkeys(x.get("attribution", "") for x in models)
  steps = [_steps(facts)]
  steps += [f"{_steps(x)} (`{x['commit']}`)" for x in models[1:]]
  return dict(
    name=name,
    folder=name,
    count=count,
    dtype=dtype,
    preset=facts["preset"],
    commit=facts["commit"] or "unknown",
    seed=facts["seed"],
    data=_learned_from(data),
    steps="; before that ".join(steps),
    training=_SYNTHETIC if _synthetic(data) else _RECORDED,
    attribution="".join(f"\n\n{x}" for x in attributions if x),
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
