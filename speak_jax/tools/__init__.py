"""Commands beside the four main ones: python -m speak_jax.tools.NAME."""
