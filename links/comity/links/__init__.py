"""Links and sessions: the stream between an end and the broker, and the TLS between two ends in it.

Two halves. This package is the part that everybody uses: `client` (an end's side of a link), `server`
(the broker's side), and under both the pure `state`, `flow` and `relay`. `sessions` is the part that
reads: TLS, padding, session messages. The broker may not import it, and nothing here does.
"""
