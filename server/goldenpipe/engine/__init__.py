"""The engine: keys in, facts out.

Watches and requests only say which build to look at; `reconcile` does the next thing.
"""
