"""What a log says of queries: read once, joined, searched, counted and reviewed (L3, L4, L7)."""
