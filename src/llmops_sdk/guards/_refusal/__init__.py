"""Answers that refuse."""
