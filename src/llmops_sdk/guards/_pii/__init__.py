"""Personal data: what it looks like, how it is found, and the vault of true values."""
