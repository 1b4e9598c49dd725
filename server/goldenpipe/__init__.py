"""GoldenPipe, the service: one REST request becomes a sealed VM golden image."""

from importlib.metadata import version

__version__ = version("goldenpipe")
