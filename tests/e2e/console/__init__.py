"""The console in a real browser, with the real servers behind it."""
