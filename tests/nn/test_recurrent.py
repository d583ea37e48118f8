"""Recurrences against their equations, one step and one number at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from speak_jax.nn.recurrent import ConvGru, Lstm, dilated
from tests import jitted


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _drawn(net, *inputs):
  shapes = jax.eval_shape(net.init, jax.random.key(0), *inputs)
  leaves, tree = jax.tree.flatten(shapes)
  drawn = [0.4 * _normal(i, *x.shape) for i, x in enumerate(leaves)]
  return jax.tree.unflatten(tree, drawn)


def _lstm_by_steps(params, x, state):
  outputs, after = x.astype(float), []
  for layer, (output, cell) in enumerate(state.astype(float)):
    w, u, b = (
      params[f"{name}{layer}"] for name in ("input", "recurrent", "bias")
    )
    made = []
    for step in outputs.swapaxes(0, 1):
      gates = step @ w + output @ u + b
      i, f, g, o = np.split(gates, 4, -1)
      cell = _sigmoid(f) * cell + _sigmoid(i) * np.tanh(g)
      output = _sigmoid(o) * np.tanh(cell)
      made.append(output)
    outputs = np.stack(made, 1)
    after.append(np.stack([output, cell]))
  return outputs, np.stack(after)


@pytest.mark.parametrize("started", [False, True])
def test_lstm_is_its_equations(started):
  net, x = Lstm(3, 2), _normal(9, 2, 4, 5)
  variables = _drawn(net, x)
  state = _normal(8, 2, 2, 2, 3) * started
  made = jitted.compiled(net.apply)(variables, x, state if started else None)
  wanted = _lstm_by_steps(variables["params"], x, state)
  for one, other in zip(made, wanted, strict=True):
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_lstm_goes_on_where_it_stopped():
  net, x = Lstm(3, 2), _normal(9, 2, 4, 5)
  variables = _drawn(net, x)
  whole, last = net.apply(variables, x)
  first, state = net.apply(variables, x[:, :3])
  second, state = net.apply(variables, x[:, 3:], state)
  np.testing.assert_allclose(jnp.concatenate([first, second], 1), whole, 1e-5)
  np.testing.assert_allclose(state, last, 1e-5)


def test_dilated_is_xlas_own():
  x, kernel = _normal(0, 2, 4, 6, 3), _normal(1, 3, 3, 3, 5)
  wanted = lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    ((2, 2), (2, 2)),
    rhs_dilation=(2, 2),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  np.testing.assert_allclose(jitted.compiled(dilated)(x, kernel), wanted, 1e-4)


def _gru_step(params, x, state):
  """PyTorch's equations; its convolutions are proved above."""

  def convolved(x, kernel):
    return np.asarray(jitted.compiled(dilated)(x, kernel))

  seen = convolved(x, params["input"]) + params["input_bias"]
  kept = convolved(state, params["recurrent"]) + params["recurrent_bias"]
  (seen_r, seen_z, seen_n), (r, z, n) = (
    np.split(gates, 3, -1) for gates in (seen, kept)
  )
  new = np.tanh(seen_n + _sigmoid(seen_r + r) * n)
  keep = _sigmoid(seen_z + z)
  return (1 - keep) * new + keep * state


def test_gru_is_its_equations():
  net, x = ConvGru(2), _normal(9, 2, 3, 4, 4, 3)
  variables = _drawn(net, x)
  state = _normal(8, 2, 4, 4, 2)
  states, last = jitted.compiled(net.apply)(variables, x, state)
  for i in range(3):
    state = _gru_step(variables["params"], x[:, i], state).astype("f4")
    np.testing.assert_allclose(states[:, i], state, atol=1e-5)
  np.testing.assert_array_equal(last, states[:, -1])


def test_without_recurrence_every_step_is_the_first():
  x = _normal(9, 2, 3, 4, 4, 3)
  variables = _drawn(ConvGru(2), x)
  states, last = ConvGru(2, recurrent=False).apply(variables, x)
  for i in range(3):
    alone, _ = ConvGru(2).apply(variables, x[:, i : i + 1])
    np.testing.assert_allclose(states[:, i], alone[:, 0], atol=1e-6)
  np.testing.assert_array_equal(last, states[:, -1])
