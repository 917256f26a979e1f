"""Answers that were given before, in front of any engine."""
