"""What is done to a running encoder: reading and replacing a layer, attention, which layers count, usual statistics."""
