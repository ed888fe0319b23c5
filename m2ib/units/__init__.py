"""What a user wants to be one unit each: rules, masks, files and phrases, as segments of an input that is ready."""
