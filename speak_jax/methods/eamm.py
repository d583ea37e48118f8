"""EAMM, from a run, as a method that can be evaluated."""

from speak_jax.methods import fomm

CODE = fomm.CODE
METHODS = {**fomm.METHODS}
