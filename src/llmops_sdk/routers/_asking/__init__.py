"""One request on its way: whose turn it is, whole answers, streams, and what is done when one fails."""
