"""The HTTP API: versioned routes, one error shape, every limit checked before anything is read."""
