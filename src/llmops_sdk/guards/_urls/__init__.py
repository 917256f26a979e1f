"""URLs as browsers read them, and hosts that look like others."""
