"""How good a guard is on labelled texts, and the threshold that keeps false alarms down."""
