"""The one command `comity`."""
