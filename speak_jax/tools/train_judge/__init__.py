"""Training of the judge that reads rendered frames: `models/judge.py`."""
