"""The search for a method's settings on one's own pairs."""
