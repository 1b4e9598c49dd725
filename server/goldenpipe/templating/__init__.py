"""Templates: YAML files whose text values may hold Jinja, laid over each other in folders.

YAML is read first and Jinja fills the values after that, so that no value of a request can ever become structure, and
a fault has the file and line that its author wrote.
"""
