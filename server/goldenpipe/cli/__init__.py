"""The command line: a client of the REST API, and the place where service and local cluster are put together."""
