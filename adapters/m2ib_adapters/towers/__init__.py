"""Parts of encoders that several adapters share: texts, patches, a last block for one query."""
