"""One run: what is trained, by which loop, how it is scored, and where its numbers came from."""
