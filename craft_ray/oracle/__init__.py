"""The black box: its contract (`contract`) and the one that runs open_clip models (`clip`)."""
