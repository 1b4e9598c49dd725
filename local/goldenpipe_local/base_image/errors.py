"""What can go wrong while a base disk is made, in words for the person who asked for it."""

from __future__ import annotations


class BaseImageError(Exception):
    """The base disk could not be made: what happened, where, and what to do next."""
