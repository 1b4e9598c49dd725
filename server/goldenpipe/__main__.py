"""`goldenpipe` and `python -m goldenpipe`."""

from goldenpipe.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
