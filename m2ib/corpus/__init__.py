"""The one engine for many pairs: rows in, chunks of them on one or several workers, results out in order."""
