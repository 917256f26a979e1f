"""Malicious code: rules for shells, SQL and pages, and Python by its syntax tree."""
