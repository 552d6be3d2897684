"""Live objects: an optimizer and a model in memory, named by identity and compared with what a file holds."""
