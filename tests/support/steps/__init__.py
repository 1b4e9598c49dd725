"""A guest to log in to, a cluster to watch and a way to run a step program: what its tests need."""
