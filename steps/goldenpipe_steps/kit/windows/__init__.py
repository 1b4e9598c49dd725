"""A Windows guest: PowerShell files run over SSH, and long work as scheduled tasks that outlive the connection."""
