"""What the pages show, as plain values: small functions over the service, no HTML."""
