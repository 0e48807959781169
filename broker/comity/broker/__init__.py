"""The middle: it routes, accounts and stamps, and can read nothing of what it carries.

`exchange` is the pure state of one exchange, `orders` and `receipts` the checks of the signed
statements that reach the broker, `admission` decides which links open, `router` moves frames and
closes accounts, and `server` wires all of it to gRPC. Nothing here may import `comity.policy`,
`comity.links.sessions` or the session messages: import-linter fails the build (design 1).
"""
