"""Methods by metrics on many pairs, into a folder that survives being killed."""
