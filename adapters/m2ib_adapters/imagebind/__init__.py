"""ImageBind: one embedding for images, video, text, sound, depth, heat and motion."""
