"""Sessions: TLS 1.3 from gateway to adapter, through the broker. For the two ends alone."""
