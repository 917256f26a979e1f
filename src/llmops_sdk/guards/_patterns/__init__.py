"""Guards that look for patterns: rules, the search, and what streams have to know of a pattern."""
