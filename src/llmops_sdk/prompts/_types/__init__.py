"""How types are written in a prompt, and what that means as JSON Schema: for its variables and for its output."""
