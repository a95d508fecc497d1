"""Parts of the program on real servers."""
