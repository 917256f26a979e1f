"""Prompt injection: rules, disguises that are taken off first, and a small lexical model."""
