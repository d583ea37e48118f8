"""What an experiment is, as data; `speak_jax.configs` is this folder too.

In a checkout it lies beside the packages and `speak_jax/configs` is a link to
it; an installed package has it inside. Files of it import each other by that
name, which is right in both.
"""
