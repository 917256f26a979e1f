"""Guards made of guards."""
