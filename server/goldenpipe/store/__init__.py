"""The store: images, builds, steps and the history of both, in one SQLite file. Only this room imports sqlite_utils."""

from goldenpipe.store.folder import own_folder
from goldenpipe.store.store import Store
from goldenpipe.store.terms import store_of_term
from goldenpipe.store.writer import StoreError

__all__ = ["Store", "StoreError", "own_folder", "store_of_term"]
