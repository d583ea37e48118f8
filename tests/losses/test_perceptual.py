"""The feature loss: weights, gradients, and its error."""

import jax.numpy as jnp
import numpy as np
import pytest

from speak_jax.losses import perceptual
from tests import jitted


def test_weights_and_value():
  a = [jnp.zeros((2, 4, 4, 3)), jnp.zeros((2, 2, 2, 6))]
  b = [jnp.full((2, 4, 4, 3), 2.0), jnp.full((2, 2, 2, 6), -1.0)]
  np.testing.assert_allclose(
    perceptual.feature_l1(a, b, (0.5, 3.0)), 0.5 * 2 + 3 * 1, rtol=1e-6
  )
  assert np.all(np.asarray(perceptual.feature_l1(b, b, (1.0, 1.0))) == 0)


def test_only_the_prediction_gets_a_gradient():
  def loss(a, b):
    return perceptual.feature_l1([a], [b], (1.0,)).sum()

  a, b = jitted.grad(loss, (0, 1))(
    jnp.ones((1, 2, 2, 1)), jnp.zeros((1, 2, 2, 1))
  )
  assert np.all(np.asarray(a) != 0)
  assert np.all(np.asarray(b) == 0)


def test_number_of_layers_must_agree():
  with pytest.raises(ValueError, match="5 weights"):
    perceptual.feature_l1([jnp.zeros((1, 1))], [jnp.zeros((1, 1))])
