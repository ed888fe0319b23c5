"""What a plugin supplies and gets back: inputs and their layout, encoders, models, attributions, renderers. Plain data."""
