"""Whether all is well: asks every server at once, and judges the answers. For ``status`` and the console."""
