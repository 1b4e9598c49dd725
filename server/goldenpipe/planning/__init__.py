"""From a checked request to a plan: which pipeline, which steps, under which ids. Pure: no I/O and no clock."""
