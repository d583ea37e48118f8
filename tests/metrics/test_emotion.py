"""Emotion accuracy against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from speak_jax.metrics import emotion


@given(st.integers(0, 2**20))
@settings(max_examples=20, deadline=None)
def test_is_scikit_learns_on_all_frames_together(seed):
  rng = np.random.default_rng(seed)
  labels = np.concatenate([[2, 5], rng.integers(0, 8, 6)])
  logits = rng.normal(size=(8, 7, 8))
  rows = np.stack(
    [
      emotion.confusion_row(x, int(label))
      for x, label in zip(logits, labels, strict=True)
    ]
  )
  true, guess = np.repeat(labels, 7), logits.argmax(-1).ravel()
  np.testing.assert_array_equal(
    rows.sum(0).reshape(8, 8),
    metrics.confusion_matrix(true, guess, labels=range(8)),
  )
  want = metrics.accuracy_score(true, guess)
  assert emotion.accuracy(rows) == pytest.approx(want)
  want = np.mean([(guess == k)[true == k].mean() for k in set(labels)])
  assert emotion.balanced_accuracy(rows) == pytest.approx(want)


def test_one_answer_for_all_is_a_guess_once_balanced():
  sizes = [30, 1, 1, 1, 1, 1, 1, 1]
  rows = np.stack(
    [
      emotion.confusion_row(np.eye(8)[np.zeros(n, int)], label)
      for label, n in enumerate(sizes)
    ]
  )
  assert emotion.accuracy(rows) == pytest.approx(30 / 37)
  assert emotion.balanced_accuracy(rows) == 0.125


def test_nothing_and_unknown():
  none = emotion.confusion_row(np.zeros((0, 8)), 3)[None]
  assert np.isnan(emotion.accuracy(none))
  assert np.isnan(emotion.balanced_accuracy(none))
  with pytest.raises(ValueError, match="emotion -1"):
    emotion.confusion_row(np.zeros((2, 8)), -1)
