"""What a plugin writer touches: components, the turn, the hooks, and how they are found."""
