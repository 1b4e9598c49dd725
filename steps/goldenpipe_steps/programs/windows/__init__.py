"""The programs of steps in a Windows guest; `os_type` of the input document chooses between these and those above."""
