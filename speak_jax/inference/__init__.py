"""A trained model makes frames: functions, windows, files."""
