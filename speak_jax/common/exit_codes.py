"""How training ends, as launchers read it, and a batch of videos.

42 and 43 ask for another start; 64 to 68 say that another start would end the
same way. 1 is an error that has no number, 128 and more a signal's.
"""

DONE = 0
SOME_FAILED = 3  # of a batch: its other videos are made
RESTART = 42  # asked to stop (SIGTERM); a checkpoint was saved
PEER_LOST = 43  # another process is gone, or this one was stuck
BAD_CONFIG = 64  # a wrong flag or config
BAD_DATA = 65  # data that cannot be used
DIVERGED = 66  # numbers that are not finite, or a code that has collapsed
NO_CHECKPOINT = 67  # there are checkpoints, and none of them is good
NO_PROGRESS = 68  # three starts in a row came no further
INTERRUPTED = 130  # Ctrl-C; a checkpoint was saved
