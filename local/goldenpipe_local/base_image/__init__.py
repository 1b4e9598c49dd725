"""Makes Debian cloud disks from the distribution's own packages, with no loop device and no mount."""

from goldenpipe_local.base_image.builder import build, cached
from goldenpipe_local.base_image.errors import BaseImageError
from goldenpipe_local.base_image.mirror import find_sources
from goldenpipe_local.base_image.recipe import DISTRIBUTIONS, Distribution
from goldenpipe_local.base_image.tools import MissingTool, install_command, missing_tools

__all__ = [
    "DISTRIBUTIONS",
    "BaseImageError",
    "Distribution",
    "MissingTool",
    "build",
    "cached",
    "find_sources",
    "install_command",
    "missing_tools",
]
