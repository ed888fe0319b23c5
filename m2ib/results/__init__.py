"""What comes out of an explanation: looking at it, saving and loading it."""
