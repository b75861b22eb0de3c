"""The audit: says what could be saved, from what is there; it changes nothing."""
