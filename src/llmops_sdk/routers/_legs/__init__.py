"""An engine as a router asks it: one try at it, how long it takes, and whether it is fit to be asked."""
