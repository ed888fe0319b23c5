"""Parts of encoders that several adapters share: images, texts, layers, patches, a last block for one query."""
