"""Who can take a request, and in which order; the strategies are next door."""
