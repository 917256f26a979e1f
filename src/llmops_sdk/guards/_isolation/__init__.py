"""A guard in another interpreter: its environment, its worker, and the guard that speaks to it."""
