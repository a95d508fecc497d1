"""Rules of the package, each taken away in turn: a test has to notice."""
