"""The step programs, one module each; the module's name is the step's name, its docstring's first line the summary."""
