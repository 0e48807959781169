"""The requester's end: the API for agency systems; sign, ask, verify, account."""
