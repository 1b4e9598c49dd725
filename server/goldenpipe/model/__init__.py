"""The words of GoldenPipe as values: requests, builds, steps, outcomes. Pure: no I/O and no clock."""
