"""An engine as a guard: by a rubric, or in the formats of guard models."""
