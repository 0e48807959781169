"""Reconciliation: two or three ends' logs side by side, exchange by exchange, offline."""
