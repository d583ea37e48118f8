"""A gate opens once, by the mean of what came before, and is in checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np

from speak_jax.stages import gate
from speak_jax.stages.base import LossOut, Phase
from speak_jax.training import loop
from tests.training import toy

RULE = gate.Rule(threshold=0.5, steps=4)


def _opened_after(values, rule=RULE):
  """Updates after which the gate is open, of one for each value."""
  _, collections = gate.fresh()
  opened = []
  for step, value in enumerate(values, 1):
    collections = gate.update(collections, jnp.float32(value), rule)
    if float(gate.weight(collections, 0.0, 1.0)):
      opened.append(step)
  return opened


def test_it_opens_when_enough_updates_have_been_low():
  # Four updates must have been, and the fifth sees that they were low.
  assert _opened_after([0.1] * 7) == [5, 6, 7]
  assert _opened_after([0.6] * 20) == []
  # One low value among high ones does not open it.
  assert _opened_after([0.9, 0.9, 0.9, 0.9, 0.0, 0.9, 0.9]) == []


def test_it_stays_open():
  assert _opened_after([0.1] * 5 + [9.0] * 5) == [5, 6, 7, 8, 9, 10]


def test_both_weights():
  _, closed = gate.fresh()
  opened = jax.tree.map(jnp.ones_like, closed)
  assert float(gate.weight(closed, 0.25, 0.5)) == 0.25
  assert float(gate.weight(opened, 0.25, 0.5)) == 0.5


def _stage():
  """The toy, whose penalty on w counts once its loss is small."""
  plain = toy.stage()

  def init(seed, given):
    params, collections = plain.init(seed, given)
    none, state = gate.fresh()
    return params | {"gate": none}, collections | {"gate": state}

  def main(params, collections, batch, step, key):
    out = plain.phases[1].loss(params, collections, batch, step, key)
    mine = collections["gate"]
    pull = gate.weight(mine, 0.0, 2.0) * (params["a"]["w"] ** 2).sum()
    changed = {"gate": gate.update(mine, out.loss, gate.Rule(1e6, 2))}
    return LossOut(
      out.loss + pull,
      out.metrics | gate.metrics(mine),
      {**out.collections, **changed},
    )

  phases = (plain.phases[0], Phase("main", "main", main))
  return plain._replace(init=init, phases=phases)


def test_a_resumed_run_has_its_gate(tmp_path):
  def run(name):
    return toy.run(tmp_path / name, 6)._replace(stage=_stage())

  want, _ = loop.fit(run("a"), toy.batches(), {})
  asked = iter([False, False, False, True])
  half, done = loop.fit(
    run("b"), toy.batches(), {}, should_stop=lambda step: next(asked)
  )
  assert not done and float(half.vars["gate"]["gate"]["open"]) == 1
  got, _ = loop.fit(run("b"), toy.batches(), {})
  jax.tree.map(
    np.testing.assert_array_equal, jax.device_get(want), jax.device_get(got)
  )
  assert float(got.vars["gate"]["gate"]["open"]) == 1
