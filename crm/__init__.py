"""Members: who they are, what they did, whether they may be touched, who serves them."""
