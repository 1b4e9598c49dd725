"""Installer ISOs: reading one where it lies, telling what it is from its own files, and making it boot unattended."""
