"""The gateway as a Python library: typed questions and answers; `comity.gateway` exports what is public."""
