"""Policy: Cedar bundles, decisions, obligations and markings.

A provider's own policy alone decides what leaves its house (A1). `PolicyBundle.load` checks a folder,
`PolicyEngine.decide` turns a question into a decision with obligations, `obligations` meets them, and
`markings` writes, checks and combines the handling that travels with data (A4).
"""
