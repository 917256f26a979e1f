"""Phrases of the application's own: topics and competitors."""
