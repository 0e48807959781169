"""Records of an agency's own users: selected at the provider, checked by whoever gets them (L3)."""
