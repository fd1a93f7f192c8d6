"""Fixed slots, built by name: fits, recommends, saves."""
