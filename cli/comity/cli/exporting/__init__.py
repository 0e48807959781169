"""What leaves an end's log for a person to read: Excel and PDF, marked, and logged as exported."""
