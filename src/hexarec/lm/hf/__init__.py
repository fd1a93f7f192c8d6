"""`hf:` - the torch engine: weights in hand, every token computed once."""
