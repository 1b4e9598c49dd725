"""GoldenPipe."""
