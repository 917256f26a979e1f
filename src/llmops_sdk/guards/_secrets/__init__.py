"""Keys, tokens and passwords: their forms, and what tells them from look-alikes."""
